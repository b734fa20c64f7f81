"""What lies where in the mount: names, inodes, attributes, lookup counts.

Pure: nothing here reads a disk, asks a peer or knows pyfuse3.  `views` says what is below the
read-only directories, `share` what is below the writable one; both keep their inodes here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from p2pfs.errors import NotFoundError

if TYPE_CHECKING:
    from p2pfs.content.cid import Cid
    from p2pfs.library.listings import ListedFile

ROOT_INODE = 1
# What every Linux file system takes; the kernel lets longer names through to FUSE.
MAX_NAME_BYTES = 255
# PATH_MAX / 2: no path that the kernel takes has more components, so a longer one is a circle.
MAX_DEPTH = 2_048
_BLOCK_BYTES = 512  # the unit of st_blocks, stat(2)


class Place(Enum):
    """The fixed entries, by their path."""

    ROOT = ""
    README = "README.txt"
    BY_TAG = "by-tag"
    BY_HASH = "by-hash"
    SEARCH = "search"
    HIDDEN = ".p2pfs"


@dataclass(frozen=True, slots=True)
class Page:
    """A file below `.p2pfs/`, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class TagFolder:
    """A directory of `by-tag/` or `search/`, by the name it was opened under.

    Each spelling of a tag is a directory of its own: the kernel allows a directory one name.
    """

    name: str
    place: Place = Place.BY_TAG


@dataclass(frozen=True, slots=True)
class ContentFile:
    """A file by its content: the same one, and so one page cache, wherever it is listed.

    The size belongs to the name, because a publisher's word about it is not yet proven.
    """

    cid: Cid
    size: int


@dataclass(frozen=True, slots=True)
class ContentFolder:
    """A directory below `by-hash/`, by where it stands (the kernel allows it one name)."""

    parent: int
    name: bytes
    cid: Cid


@dataclass(frozen=True, slots=True)
class ContentLink:
    """A symbolic link in a directory of `by-hash/`."""

    cid: Cid
    target: bytes


@dataclass(frozen=True, slots=True)
class Shared:
    """Anything in the share folder, by the identity its file system gives it."""

    device: int
    number: int


Thing = Place | Page | TagFolder | ContentFile | ContentFolder | ContentLink | Shared


@dataclass(slots=True, eq=False)
class Node:
    """One inode.  Only `Tree` changes it, but for `listed`: what was last said about a file."""

    inode: int
    thing: Thing
    lookups: int = 0
    children: int = 0
    names: list[tuple[Node, bytes]] = field(default_factory=list)
    listed: ListedFile | None = None


@dataclass(frozen=True, slots=True)
class Stat:
    """What `stat` shows of a read-only entry: `mode` with its type, times in UNIX seconds."""

    mode: int
    size: int
    blocks: int
    mtime: float


class Tree:
    """The inodes that the kernel knows, as many as it has looked up and not forgotten."""

    def __init__(self) -> None:
        self._next = ROOT_INODE
        self._nodes: dict[int, Node] = {}
        self._by_thing: dict[Thing, Node] = {}
        self._entries: dict[tuple[int, bytes], Node] = {}
        self.remember(self.at(Place.ROOT))

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, inode: int) -> Node:
        """The node of an inode the kernel holds; raises NotFoundError."""
        try:
            return self._nodes[inode]
        except KeyError:
            raise NotFoundError(f"no inode {inode}") from None

    def at(self, thing: Thing) -> Node:
        """The node of a thing; a new one (an inode number is never used twice) if it has none."""
        node = self._by_thing.get(thing)
        if node is None:
            node = Node(self._next, thing)
            self._next += 1
            self._nodes[node.inode] = self._by_thing[thing] = node
        return node

    def remember(self, node: Node) -> None:
        """Count one lookup: each must be given back by `forget`."""
        node.lookups += 1

    def forget(self, inode: int, lookups: int) -> None:
        """Take back lookups; what nobody holds any more is dropped, and its parents with it."""
        node = self._nodes.get(inode)
        if node is not None:
            node.lookups = max(0, node.lookups - lookups)
            self.drop_unused(node)

    def drop_unused(self, node: Node) -> None:
        """Drop a node, and its parents, unless the kernel or a child still needs them."""
        if node.lookups or node.children or node.inode == ROOT_INODE:
            return
        for parent, name in list(node.names):
            self.unlink(parent, name)
        self._nodes.pop(node.inode, None)
        if self._by_thing.get(node.thing) is node:
            del self._by_thing[node.thing]

    # Names of what lies in the share folder, where entries move.

    def link(self, node: Node, parent: Node, name: bytes, *, directory: bool) -> None:
        """Say that `parent/name` is `node` now.  A directory has one name, a file may have many."""
        key = (parent.inode, name)
        if self._entries.get(key) is node:
            return
        node.lookups += 1  # held while its old name goes, which may have been below itself
        self.unlink(parent, name)
        if directory:
            for old_parent, old_name in list(node.names):
                self.unlink(old_parent, old_name)
        self._entries[key] = node
        node.names.append((parent, name))
        parent.children += 1
        node.lookups -= 1

    def unlink(self, parent: Node, name: bytes) -> Node | None:
        """Say that `parent/name` is gone; the node that it was, if one is known."""
        node = self._entries.pop((parent.inode, name), None)
        if node is not None:
            node.names.remove((parent, name))
            parent.children -= 1
            self.drop_unused(parent)
        return node

    def move(self, old: tuple[Node, bytes], new: tuple[Node, bytes]) -> None:
        """Rename an entry, over what was there."""
        if old == new:
            return
        self.unlink(*new)
        node = self._entries.get((old[0].inode, old[1]))
        if node is not None:
            new[0].children += 1  # held while the old name goes
            self.unlink(*old)
            self._entries[new[0].inode, new[1]] = node
            node.names.append(new)

    def exchange(self, one: tuple[Node, bytes], other: tuple[Node, bytes]) -> None:
        """Let two entries change places."""
        first = self.unlink(*one)
        second = self.unlink(*other)
        for node, (parent, name) in ((first, other), (second, one)):
            if node is not None:
                self.link(node, parent, name, directory=False)

    def retire(self, node: Node) -> None:
        """Say that the file system may give this identity to another file from now on."""
        if self._by_thing.get(node.thing) is node:
            del self._by_thing[node.thing]

    def paths(self, node: Node, top: Node) -> list[tuple[bytes, ...]]:
        """Where a node lies below `top`, which has no name; several ways for hard links."""
        if node is top:
            return [()]
        found = (self._path(parent, name, top) for parent, name in node.names)
        return [path for path in found if path is not None]

    def _path(self, parent: Node, name: bytes, top: Node) -> tuple[bytes, ...] | None:
        parts = [name]
        while parent is not top:
            if not parent.names or len(parts) >= MAX_DEPTH:
                return None
            parent, name = parent.names[0]
            parts.append(name)
        return tuple(reversed(parts))


def blocks(size: int, held: int) -> int:
    """`st_blocks` of a file of which `held` bytes lie here: 1 at least, unless it is empty."""
    return max(-(-min(held, size) // _BLOCK_BYTES), 1 if size else 0)


def encoded_name(name: str) -> bytes | None:
    """A listed name as the kernel takes it, or None: one bad entry must not hide the others."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return None
    return encoded if holdable(encoded) else None


def holdable(name: bytes) -> bool:
    """Whether a file system can hold an entry of this name."""
    return (
        0 < len(name) <= MAX_NAME_BYTES
        and name not in (b".", b"..")
        and b"/" not in name
        and b"\0" not in name
    )
