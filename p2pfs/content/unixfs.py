"""UnixFS: what a block of a file, a directory or a symbolic link says.

Reading only; `balanced` and `directory` build.  The format is
https://specs.ipfs.tech/unixfs/; whatever breaks a limit or does not add up is refused whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p2pfs.content.cid import MAX_BLOCK_BYTES, RAW, Cid
from p2pfs.content.dag_pb import Node, parse_node
from p2pfs.content.varint import MAX_INTEGER, read_extent, read_varint
from p2pfs.errors import MalformedError

# The widest profile in use is unixfs-v1-2025; more would let one block cost much work.
MAX_FILE_LINKS = 1_024
# A plain directory has to fit in a block, so this binds only blocks made of identity CIDs.
MAX_DIRECTORY_LINKS = 50_000
# What Linux takes as a path.
MAX_TARGET_BYTES = 4_095

TYPE_RAW = 0
TYPE_DIRECTORY = 1
TYPE_FILE = 2
TYPE_METADATA = 3
TYPE_SYMLINK = 4
TYPE_HAMT_SHARD = 5

# Protobuf tags of the Data message.
TAG_TYPE = 0x08
TAG_DATA = 0x12
TAG_FILE_SIZE = 0x18
TAG_BLOCK_SIZE = 0x20
TAG_MODE = 0x38
TAG_MTIME = 0x42
_TAG_PACKED_BLOCK_SIZES = 0x22
_WIRE_VARINT = 0
_WIRE_LENGTH_DELIMITED = 2
_FIXED_BYTES = {1: 8, 5: 4}  # by wire type
# A size for each part and a few more; a block could hold a million that mean nothing.
_MAX_FIELDS = MAX_FILE_LINKS + 32


class Child(NamedTuple):
    """A part of a file and how many bytes of content it stands for."""

    cid: Cid
    size: int


class Entry(NamedTuple):
    """A directory's entry: its name, its CID, and the bytes of all its blocks by its own account.

    The name is distinct, not empty, `.` or `..`, and holds no `/` and no NUL.  It may be longer
    than a file system takes, or hold control characters: rendering it is for who shows it.
    """

    name: str
    cid: Cid
    tsize: int


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file, or a part of one, of `size` bytes of content.

    Its own content is `block[data_at:data_at + data_size]` and comes before its children's.
    """

    size: int
    data_at: int
    data_size: int
    children: tuple[Child, ...]


@dataclass(frozen=True, slots=True)
class DirectoryNode:
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SymlinkNode:
    """The target is whatever the author wrote: never follow it outside of a sandbox."""

    target: str


def parse_block(cid: Cid, block: bytes) -> FileNode | DirectoryNode | SymlinkNode:
    """What a block, already known to match its CID, says; raises MalformedError."""
    if cid.codec == RAW:
        if len(block) > MAX_BLOCK_BYTES:
            raise MalformedError(f"a block of {len(block)} bytes")
        return FileNode(len(block), 0, len(block), ())
    node = parse_node(block, MAX_DIRECTORY_LINKS)
    fields = _parse_fields(block, node.data_at, node.data_end)
    if fields.type in (TYPE_FILE, TYPE_RAW):
        return _file(node, fields)
    if fields.type == TYPE_DIRECTORY:
        return _directory(node)
    if fields.type == TYPE_SYMLINK:
        return _symlink(node, block[fields.data_at : fields.data_end])
    if fields.type == TYPE_HAMT_SHARD:
        raise MalformedError("a sharded (HAMT) directory, which is not supported yet")
    raise MalformedError(f"UnixFS type {fields.type} is not known")


def parse_file(cid: Cid, block: bytes) -> FileNode:
    """`parse_block` where only a file, or a part of one, will do; raises MalformedError."""
    node = parse_block(cid, block)
    if not isinstance(node, FileNode):
        raise MalformedError(f"{cid} is not a file")
    return node


def part(cid: Cid, size: int) -> Child:
    """A child, or a root; raises MalformedError for a size that its block cannot have."""
    if cid.codec == RAW:
        inline = cid.inline
        if size > MAX_BLOCK_BYTES or (inline is not None and len(inline) != size):
            raise MalformedError(f"a block cannot be of {size} bytes")
    return Child(cid, size)


@dataclass(slots=True)
class _Fields:
    """The Data message while it is read; `type` has no default in the format."""

    type: int | None
    data_at: int
    data_end: int
    file_size: int | None
    block_sizes: list[int]


def _parse_fields(block: bytes, at: int, end: int) -> _Fields:
    """Unknown fields are passed over, as protobuf demands; of one given twice the last counts."""
    fields = _Fields(None, end, end, None, [])
    for _ in range(_MAX_FIELDS):
        if at == end:
            return fields
        tag, at = read_varint(block, at, end)
        if tag == TAG_BLOCK_SIZE:
            size, at = read_varint(block, at, end)
            fields.block_sizes.append(size)
        elif tag == TAG_TYPE:
            fields.type, at = read_varint(block, at, end)
        elif tag == TAG_FILE_SIZE:
            fields.file_size, at = read_varint(block, at, end)
        elif tag == TAG_DATA:
            fields.data_at, fields.data_end = read_extent(block, at, end)
            at = fields.data_end
        elif tag == _TAG_PACKED_BLOCK_SIZES:
            start, at = read_extent(block, at, end)
            fields.block_sizes += _packed(block, start, at)
        else:
            at = _after_unknown(block, tag, at, end)
    raise MalformedError(f"a UnixFS message of over {_MAX_FIELDS} fields")


def _packed(block: bytes, at: int, end: int) -> list[int]:
    sizes = []
    while at < end:
        size, at = read_varint(block, at, end)
        sizes.append(size)
        if len(sizes) > MAX_FILE_LINKS:
            raise MalformedError(f"a node with more than {MAX_FILE_LINKS} parts")
    return sizes


def _after_unknown(block: bytes, tag: int, at: int, end: int) -> int:
    wire_type = tag & 7
    if wire_type == _WIRE_VARINT:
        return read_varint(block, at, end)[1]
    if wire_type == _WIRE_LENGTH_DELIMITED:
        return read_extent(block, at, end)[1]
    after = at + _FIXED_BYTES.get(wire_type, end)
    if after > end:
        raise MalformedError(f"a UnixFS field of wire type {wire_type} that does not fit")
    return after


def _file(node: Node, fields: _Fields) -> FileNode:
    if len(node.links) != len(fields.block_sizes) or len(node.links) > MAX_FILE_LINKS:
        raise MalformedError(f"{len(node.links)} parts with {len(fields.block_sizes)} sizes")
    children = tuple(
        part(link.cid, size) for link, size in zip(node.links, fields.block_sizes, strict=True)
    )
    data_size = fields.data_end - fields.data_at
    size = data_size + sum(fields.block_sizes)
    if size > MAX_INTEGER or fields.file_size not in (None, size):
        raise MalformedError(f"parts of {size} bytes in a file of {fields.file_size}")
    return FileNode(size, fields.data_at, data_size, children)


def _directory(node: Node) -> DirectoryNode:
    """Whole or refused: leaving out a bad entry would make a copy of the directory lie."""
    entries = tuple(Entry(parse_name(link.name), link.cid, link.tsize) for link in node.links)
    if len({entry.name for entry in entries}) != len(entries):
        raise MalformedError("a directory with one name twice")
    return DirectoryNode(entries)


def parse_name(raw: bytes) -> str:
    """The name of an entry; raises MalformedError for one that no directory can have."""
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"a name that is not UTF-8: {raw!r}") from error
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise MalformedError(f"a name that no directory can have: {name!r}")
    return name


def _symlink(node: Node, target: bytes) -> SymlinkNode:
    if node.links or not 0 < len(target) <= MAX_TARGET_BYTES or b"\0" in target:
        raise MalformedError("not a symbolic link that a file system could hold")
    try:
        return SymlinkNode(target.decode())
    except UnicodeDecodeError as error:
        raise MalformedError("a link's target that is not UTF-8") from error
