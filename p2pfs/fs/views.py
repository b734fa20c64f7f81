"""What lies in the read-only directories: `by-tag/`, `search/`, `by-hash/`, `.p2pfs/`.

Finding and fetching are for `p2pfs.library`; this gives what it finds names, inodes and
attributes.  Only calls marked `async` may wait for the network, each within its deadline.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import deadline
from p2pfs.content.cid import parse_cid
from p2pfs.errors import MalformedError, NotFoundError
from p2pfs.fs.limits import Deadlines
from p2pfs.fs.readme import README
from p2pfs.fs.tree import (
    ContentFile,
    ContentFolder,
    ContentLink,
    Node,
    Page,
    Place,
    Stat,
    TagFolder,
    Tree,
    blocks,
    encoded_name,
)
from p2pfs.library.names import entry_name
from p2pfs.library.resolving import Kind
from p2pfs.library.searching import search_key, tag_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from p2pfs.content.cid import Cid
    from p2pfs.fs.tree import Thing
    from p2pfs.library.listings import ListedFile
    from p2pfs.library.openfile import OpenFile
    from p2pfs.library.reading import Reading
    from p2pfs.library.resolving import Resolved
    from p2pfs.library.searching import Searches

# The owner may write, as far as modes go: then everybody, root too, is told EROFS by us, and what
# is copied from here can be written and removed again (as on a read-only rclone mount).
_FOLDER_MODE = stat.S_IFDIR | 0o755
_FILE_MODE = stat.S_IFREG | 0o644
_LINK_MODE = stat.S_IFLNK | 0o777


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing."""

    name: bytes
    thing: Thing
    listed: ListedFile | None = None


class Views:
    """The read-only part of the tree.  `pages` are the files of `.p2pfs/`; they never wait."""

    def __init__(
        self,
        tree: Tree,
        reading: Reading,
        searches: Searches,
        pages: Mapping[str, Callable[[], bytes]],
        started: float,
    ) -> None:
        self._tree = tree
        self._reading = reading
        self._searches = searches
        self._pages = pages
        self._started = started
        self.deadlines = Deadlines()

    async def lookup(self, parent: Node, name: bytes) -> Node:
        """The node of `parent/name`; raises NotFoundError, and what a search may raise."""
        text = _text(name)
        match parent.thing:
            case Place.ROOT if text in (place.value for place in Place if place.value):
                return self._tree.at(Place(text))
            case Place.HIDDEN if text in self._pages:
                return self._tree.at(Page(text))
            # Programs look for `.git` and the like everywhere; no folder so named is published.
            case (Place.BY_TAG | Place.SEARCH) as place if not text.startswith("."):
                folder = TagFolder(text, place)
                _asked(folder)  # or there is no such thing
                return self._tree.at(folder)
            case TagFolder():
                return await self._listed(parent.thing, text)
            case Place.BY_HASH:
                return await self._by_hash(parent, name, text)
            case ContentFolder(cid=cid):
                with deadline(self.deadlines.lookup, f"looking up {text!r}"):
                    found = await self._child(cid, text)
                return self._tree.at(_thing(parent, name, found))
        raise NotFoundError(f"no {text!r} here")

    async def entries(self, folder: Node) -> list[Entry]:
        """What a directory holds now, as its listing is to stay until it is closed."""
        match folder.thing:
            case Place.ROOT:
                places = (Place.README, Place.BY_TAG, Place.SEARCH, Place.BY_HASH)
                return [Entry(place.value.encode(), place) for place in places]
            case Place.HIDDEN:
                return [Entry(name.encode(), Page(name)) for name in self._pages]
            case (Place.BY_TAG | Place.SEARCH | Place.BY_HASH) as place:
                return self._met(place)
            case TagFolder():
                return await self._tag_entries(folder.thing)
            case ContentFolder(cid=cid):
                with deadline(self.deadlines.folder, f"listing {cid}"):
                    found = await self._reading.children(await self._reading.resolve(cid))
                return _folder_entries(folder, found)
        raise NotADirectoryError(f"{folder.thing} is no directory")

    def stat(self, node: Node) -> Stat:
        """The attributes of a node, from memory."""
        match node.thing:
            case ContentFile(cid, size):
                held = blocks(size, self._reading.held(cid, size))
                published = node.listed.published if node.listed else self._started
                return Stat(_FILE_MODE, size, held, published)
            case ContentLink(_, target):
                return Stat(_LINK_MODE, len(target), 0, self._started)
            case Place.README:
                held = blocks(len(README), len(README))
                return Stat(_FILE_MODE, len(README), held, self._started)
            case Page():  # like a file of /proc: its length is known when it is read
                return Stat(_FILE_MODE, 0, 0, self._started)
        return Stat(_FOLDER_MODE, 0, 0, self._started)

    def page(self, node: Node) -> bytes:
        """The text of a virtual file as it is now."""
        if isinstance(node.thing, Page):
            return self._pages[node.thing.name]()
        return README

    def placed(self, entry: Entry) -> Node:
        """The node of a line of a listing."""
        node = self._tree.at(entry.thing)
        node.listed = entry.listed or node.listed
        return node

    async def open(self, node: Node) -> tuple[OpenFile, Callable[[], int]]:
        """A file to read, and how many of its bytes are here."""
        file = node.thing
        assert isinstance(file, ContentFile)  # noqa: S101 the caller has looked
        listed = node.listed
        providers, crc32 = (listed.providers, listed.crc32) if listed else ((), None)
        with deadline(self.deadlines.lookup, f"opening {file.cid}"):
            opened = await self._reading.open(file.cid, file.size, providers, crc32)
        return opened, partial(self._reading.held, file.cid, file.size)

    def _met(self, place: Place) -> list[Entry]:
        """What lies in `by-tag/`, `search/` and `by-hash/` themselves: what this node has met."""
        if place is Place.BY_HASH:
            return [
                Entry(str(cid).encode(), ContentFile(cid, size))
                for cid, size in self._reading.recent()[: self._searches.max_entries]
            ]
        if place is Place.SEARCH:
            asked = self._searches.recent_searches()
        else:
            asked = self._searches.known_tags()
        return [
            Entry(name, TagFolder(text, place))
            for text in asked
            if (name := encoded_name(text)) is not None
        ]

    async def _listed(self, folder: TagFolder, name: str) -> Node:
        tag = _asked(folder)
        file = self._searches.listing(tag).find(name)
        # Published names never begin with a dot, and file managers ask for many that do.
        if file is None and not name.startswith("."):
            with deadline(self.deadlines.lookup, f"looking for {name}"):
                await self._searches.refresh(tag)
            file = self._searches.listing(tag).find(name)
        if file is None:
            raise NotFoundError(f"nobody has published {name!r} under {folder.name!r}")
        return self.placed(Entry(b"", ContentFile(file.cid, file.size), file))

    async def _by_hash(self, parent: Node, name: bytes, text: str) -> Node:
        try:
            cid = parse_cid(text)
        except MalformedError as error:
            raise NotFoundError(f"{text!r} is no content id") from error
        with deadline(self.deadlines.lookup, f"looking up {text}"):
            found = await self._reading.resolve(cid)
        return self._tree.at(_thing(parent, name, found))

    async def _child(self, cid: Cid, name: str) -> Resolved:
        try:
            return await self._reading.resolve(cid, (name,))
        except NotFoundError:
            if "~" not in name:  # else it may be how a name is shown that cannot be
                raise
        folder = await self._reading.resolve(cid)
        for entry in await self._reading.entries(folder):
            if entry_name(entry.name, entry.cid) == name:
                return await self._reading.resolve(cid, (entry.name,))
        raise NotFoundError(f"no {name!r} in {cid}")

    async def _tag_entries(self, folder: TagFolder) -> list[Entry]:
        tag = _asked(folder)
        if folder.place is Place.SEARCH:
            self._searches.note_search(tag)
        else:
            self._searches.note_tag(tag)
        with trio.move_on_after(self.deadlines.listing):  # then what is known is shown
            await self._searches.refresh(tag)
        return [
            Entry(encoded, ContentFile(file.cid, file.size), file)
            for name, file in self._searches.listing(tag).entries.items()
            if (encoded := encoded_name(name)) is not None
        ]


def _thing(parent: Node, name: bytes, found: Resolved) -> Thing:
    match found.kind:
        case Kind.FILE:
            return ContentFile(found.cid, found.size)
        case Kind.DIRECTORY:
            return ContentFolder(parent.inode, name, found.cid)
        case Kind.SYMLINK:
            return ContentLink(found.cid, found.target.encode())


def _folder_entries(folder: Node, children: Mapping[str, Resolved]) -> list[Entry]:
    entries = []
    for text, child in children.items():
        name = entry_name(text, child.cid).encode()
        entries.append(Entry(name, _thing(folder, name, child)))
    return entries


def _asked(folder: TagFolder) -> str:
    """What to list, by the name of the directory; NotFoundError for what no tag or word can be."""
    try:
        if folder.place is Place.SEARCH:
            return search_key(folder.name)
        return tag_key(folder.name)
    except MalformedError as error:
        raise NotFoundError(f"nothing can be found by {folder.name!r}") from error


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise NotFoundError("nothing here has such a name") from error
