"""A library without a network, for mounts that are real."""

# ruff: noqa: ARG002  they are called as the real ones are

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2pfs.content.cid import Cid, parse_cid, raw_cid
from p2pfs.content.tags import search_text
from p2pfs.content.unixfs import Entry
from p2pfs.errors import NoProvidersError, NotFoundError
from p2pfs.identity import OwnKey
from p2pfs.library.listings import ListedFile, Listing
from p2pfs.library.resolving import Kind, Resolved
from p2pfs.store.share import Share, ShareState

PUBLISHER = bytes(32)
OWN = OwnKey(bytes(range(32)))


def cid_of(content: bytes) -> Cid:
    return raw_cid(hashlib.sha256(content).digest())


def listed(name: str, content: bytes, **more: object) -> ListedFile:
    about: dict[str, object] = {
        "crc32": 0xDEADBEEF,
        "mime": "audio/mpeg",
        "tags": ("jazz", "music"),
        "publishers": (PUBLISHER,),
        "published": 1_700_000_000,
        "providers": (),
    }
    return ListedFile(name=name, cid=cid_of(content), size=len(content), **(about | more))  # type: ignore[arg-type]


@dataclass
class FakeFile:
    reading: FakeReading
    content: bytes
    size: int

    async def read(self, offset: int, length: int) -> bytes:
        self.reading.reads += 1
        if self.reading.failure is not None:
            raise self.reading.failure
        if self.content in self.reading.stuck:
            await trio.sleep_forever()
        return self.content[offset : offset + length]

    def close(self) -> None:
        self.reading.closed += 1


@dataclass
class FakeReading:
    """Knows `contents` by multihash; those in `stuck` never arrive."""

    contents: dict[bytes, bytes] = field(default_factory=dict)
    folders: dict[bytes, Resolved] = field(default_factory=dict)
    stuck: list[bytes] = field(default_factory=list)
    lookups_hang: bool = False
    failure: Exception | None = None
    reads: int = 0
    closed: int = 0

    def add(self, content: bytes) -> Cid:
        cid = cid_of(content)
        self.contents[cid.multihash] = content
        return cid

    def add_folder(self, cid: Cid, children: Mapping[str, Resolved]) -> Resolved:
        entries = tuple(Entry(name, child.cid, child.size) for name, child in children.items())
        folder = Resolved(Kind.DIRECTORY, cid, entries=entries)
        self.folders[cid.multihash] = folder
        for child in children.values():
            if child.kind is not Kind.FILE:
                self.folders[child.cid.multihash] = child
        return folder

    async def resolve(self, cid: Cid, parts: tuple[str, ...] = ()) -> Resolved:
        if self.lookups_hang:
            await trio.sleep_forever()
        if self.failure is not None:
            raise self.failure
        found = self._found(cid)
        for part in parts:
            entry = next((entry for entry in found.entries if entry.name == part), None)
            if entry is None:
                raise NotFoundError(part)
            found = self._found(entry.cid)
        return found

    async def entries(self, directory: Resolved) -> tuple[Entry, ...]:
        return directory.entries

    async def children(self, directory: Resolved) -> dict[str, Resolved]:
        return {entry.name: self._found(entry.cid) for entry in directory.entries}

    async def open(
        self, cid: Cid, size: int | None, providers: Iterable[object], crc32: int | None
    ) -> FakeFile:
        if self.failure is not None:
            raise self.failure
        content = self.contents[cid.multihash]
        return FakeFile(self, content, len(content))

    def held(self, cid: Cid, size: int) -> int:
        return size // 2

    def recent(self) -> list[tuple[Cid, int]]:
        return [(cid_of(content), len(content)) for content in self.contents.values()]

    def last_error(self, cid: Cid) -> str:
        return ""

    def _found(self, cid: Cid) -> Resolved:
        if cid.multihash in self.folders:
            return self.folders[cid.multihash]
        if cid.multihash not in self.contents:
            raise NoProvidersError(f"nobody offers {cid}")
        return Resolved(Kind.FILE, cid, len(self.contents[cid.multihash]))


@dataclass
class FakeSearches:
    """Knows `files` by tags; `later` come in with the next refresh."""

    files: dict[str, dict[str, ListedFile]] = field(default_factory=dict)
    max_entries: int = 10_000
    later: dict[str, dict[str, ListedFile]] = field(default_factory=dict)
    hangs: bool = False
    waiting: int = 0
    failure: Exception | None = None
    searched: list[str] = field(default_factory=list)

    def listing(self, tag: str) -> Listing:
        if self.failure is not None:
            raise self.failure
        return Listing(tag, self.files.get(tag, {}))

    async def refresh(self, tag: str) -> None:
        if self.hangs:
            self.waiting += 1
            await trio.sleep_forever()
        self.files.setdefault(tag, {}).update(self.later.pop(tag, {}))

    def known_tags(self) -> list[str]:
        if self.failure is not None:
            raise self.failure
        return list(self.files)

    def note_search(self, tag: str) -> None:
        text = search_text(tag.split("+"))
        self.searched = [text, *(other for other in self.searched if other != text)]

    def note_tag(self, tag: str) -> None:
        """What was looked up shows in `known_tags` of the real one; tests here list fixed tags."""

    def recent_searches(self) -> list[str]:
        return self.searched


class FakeFolders:
    def state(self, path: bytes) -> tuple[ShareState, str]:
        return ShareState.WAITING, "until it has been still"

    def cid(self, path: bytes) -> Cid | None:
        return None


@dataclass
class FakeHints:
    """Writes down what it is told."""

    told: list[tuple[str, ...]] = field(default_factory=list)
    failure: Exception | None = None

    def opened(self, path: bytes) -> None:
        self._tell("opened", path)

    def closed(self, path: bytes) -> None:
        self._tell("closed", path)

    def changed(self, path: bytes) -> None:
        self._tell("changed", path)

    def retagged(self, path: bytes) -> None:
        self._tell("retagged", path)

    def removed(self, path: bytes) -> None:
        self._tell("removed", path)

    def renamed(self, old: bytes, new: bytes) -> None:
        self._tell("renamed", old, new)

    def _tell(self, what: str, *paths: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.told.append((what, *(path.decode() for path in paths)))


@dataclass
class FakeIngest:
    hints: FakeHints = field(default_factory=FakeHints)
    states: dict[bytes, tuple[ShareState, str]] = field(default_factory=dict)

    def state(self, path: bytes) -> tuple[ShareState, str]:
        return self.states.get(path, (ShareState.WAITING, "until it has been still"))


@dataclass
class FakeShares:
    folder: Path
    rows: dict[bytes, Share] = field(default_factory=dict)

    def get(self, path: bytes) -> Share | None:
        return self.rows.get(path)


@dataclass
class FakeLibrary:
    folder: Path
    reading: FakeReading = field(default_factory=FakeReading)
    searches: FakeSearches = field(default_factory=FakeSearches)
    folders: FakeFolders = field(default_factory=FakeFolders)
    ingest: FakeIngest = field(default_factory=FakeIngest)
    pages: dict[str, Callable[[], bytes]] = field(
        default_factory=lambda: {"status": lambda: b"fine\n", "status.json": lambda: b"{}\n"}
    )

    def __post_init__(self) -> None:
        self.shares = FakeShares(self.folder)

    def publish(self, tag: str, name: str, content: bytes, **more: object) -> ListedFile:
        """Another node's file, listed under a tag."""
        file = listed(name, content, **more)
        self.reading.add(content)
        self.searches.files.setdefault(tag, {})[name] = file
        return file


FOLDER_CID = parse_cid("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
INNER_CID = parse_cid("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi")
LINK_CID = parse_cid("bafybeif2pall7dybz7vecqka3zo24irdwabwdi4wc55jznaq75q7eaavvu")
