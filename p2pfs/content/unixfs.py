"""UnixFS: what a block of a file, a directory or a symbolic link says.

Reading only; `balanced`, `directory` and `hamt` build.  The format is
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
# The widths of shards that Kubo reads, all powers of two; all known writers use 256.
_FANOUTS = tuple(1 << bits for bits in range(3, 11))
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
TAG_HASH_TYPE = 0x28
TAG_FANOUT = 0x30
TAG_MODE = 0x38
TAG_MTIME = 0x42
_TAG_PACKED_BLOCK_SIZES = 0x22
_NUMBERS = (TAG_TYPE, TAG_FILE_SIZE, TAG_HASH_TYPE, TAG_FANOUT)
# The one hash function of shards.
HASH_MURMUR3_X64_64 = 0x22
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
class ShardNode:
    """A sharded directory's root or a part of it: by index, an entry or the shard that holds more.

    Only `hamt` knows whether names are where they belong.
    """

    fanout: int
    children: dict[int, Entry | Cid]
    block_bytes: int


@dataclass(frozen=True, slots=True)
class SymlinkNode:
    """The target is whatever the author wrote: never follow it outside of a sandbox."""

    target: str


# Whatever a block can say.
UnixfsNode = FileNode | DirectoryNode | ShardNode | SymlinkNode


def parse_block(cid: Cid, block: bytes) -> UnixfsNode:
    """What a block, already known to match its CID, says; raises MalformedError."""
    if cid.codec == RAW:
        if len(block) > MAX_BLOCK_BYTES:
            raise MalformedError(f"a block of {len(block)} bytes")
        return FileNode(len(block), 0, len(block), ())
    node = parse_node(block, MAX_DIRECTORY_LINKS)
    fields = _parse_fields(block, node.data_at, node.data_end)
    kind = fields.numbers.get(TAG_TYPE)  # it has no default in the format
    if kind in (TYPE_FILE, TYPE_RAW):
        return _file(node, fields)
    if kind == TYPE_DIRECTORY:
        return _directory(node)
    if kind == TYPE_SYMLINK:
        return _symlink(node, block[fields.data_at : fields.data_end])
    if kind == TYPE_HAMT_SHARD:
        return _shard(node, fields, block)
    raise MalformedError(f"UnixFS type {kind} is not known")


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
    """The Data message while it is read: plain numbers by their tag."""

    data_at: int
    data_end: int
    block_sizes: list[int]
    numbers: dict[int, int]


def _parse_fields(block: bytes, at: int, end: int) -> _Fields:
    """Unknown fields are passed over, as protobuf demands; of one given twice the last counts."""
    fields = _Fields(end, end, [], {})
    for _ in range(_MAX_FIELDS):
        if at == end:
            return fields
        tag, at = read_varint(block, at, end)
        if tag == TAG_BLOCK_SIZE:
            size, at = read_varint(block, at, end)
            fields.block_sizes.append(size)
        elif tag in _NUMBERS:
            fields.numbers[tag], at = read_varint(block, at, end)
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
    if size > MAX_INTEGER or fields.numbers.get(TAG_FILE_SIZE, size) != size:
        raise MalformedError(f"parts of {size} bytes in a file of another size")
    return FileNode(size, fields.data_at, data_size, children)


def _directory(node: Node) -> DirectoryNode:
    """Whole or refused: leaving out a bad entry would make a copy of the directory lie."""
    entries = tuple(Entry(parse_name(link.name), link.cid, link.tsize) for link in node.links)
    if len({entry.name for entry in entries}) != len(entries):
        raise MalformedError("a directory with one name twice")
    return DirectoryNode(entries)


def _shard(node: Node, fields: _Fields, block: bytes) -> ShardNode:
    """Each link's name begins with its index in hexadecimal; the bit field has the same ones."""
    function, fanout = fields.numbers.get(TAG_HASH_TYPE), fields.numbers.get(TAG_FANOUT, 0)
    if function != HASH_MURMUR3_X64_64 or fanout not in _FANOUTS:
        raise MalformedError(f"a shard of {fanout} places by hash function {function}")
    digits = len(f"{fanout - 1:X}")
    children: dict[int, Entry | Cid] = {}
    taken = 0
    for link in node.links:
        index = _index(link.name[:digits], digits)
        if taken >> index:
            raise MalformedError("links of a shard out of order, or two in one place")
        taken |= 1 << index
        rest = link.name[digits:]
        children[index] = Entry(parse_name(rest), link.cid, link.tsize) if rest else link.cid
    if taken != int.from_bytes(block[fields.data_at : fields.data_end], "big"):
        raise MalformedError("a shard whose links are not those of its bit field")
    if taken >> fanout:
        raise MalformedError(f"a shard of more than {fanout} places")
    return ShardNode(fanout, children, len(block))


def _index(prefix: bytes, digits: int) -> int:
    try:
        index = int(prefix, 16)
    except ValueError as error:
        raise MalformedError(f"{prefix!r} is no place in a shard") from error
    if index < 0 or prefix != b"%0*X" % (digits, index):
        raise MalformedError(f"{prefix!r} is no place in a shard")
    return index


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
