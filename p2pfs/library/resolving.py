"""What a path below `by-hash/` is: a file, a directory or a symbolic link, by its blocks.

A file's content is for `reading`; names that a file system cannot hold are for `fs`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import SingleFlight, all_of
from p2pfs.content.cid import DAG_PB, RAW, Cid
from p2pfs.content.unixfs import DirectoryNode, Entry, FileNode, SymlinkNode, parse_block
from p2pfs.errors import NotFoundError, P2pfsError
from p2pfs.transfer.anyone import fetch_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.library.sources import Sources
    from p2pfs.peers.client import Client
    from p2pfs.store.dags import Dags

_log = logging.getLogger(__name__)

# Blocks kept in memory: some thousand roots, or the largest directory a few times over.
_KEPT_BYTES = 16 * 1024 * 1024
# A parsed block's cost beside its bytes, roughly.
_KEPT_OVERHEAD_BYTES = 512
# Children asked for at once: ten a second and peer would make a long listing wait.
_CHILDREN_AT_ONCE = 32


class Kind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a CID stands for: a file's `size`, a directory's `entries`, or a link's `target`."""

    kind: Kind
    cid: Cid
    size: int = 0
    entries: tuple[Entry, ...] = ()
    target: str = ""


class Resolving:
    """Resolves by content id, here first, then from peers; blocks that came are kept.

    `local_size` says of a raw root how long it is, if it is here.
    """

    def __init__(
        self,
        dags: Dags,
        client: Client,
        sources: Sources,
        local_size: Callable[[Cid], int | None],
        nursery: trio.Nursery,
    ) -> None:
        self._dags = dags
        self._client = client
        self._sources = sources
        self._local_size = local_size
        self._nursery = nursery
        self._blocks = _Blocks()
        self._flights: SingleFlight[Cid, bytes] = SingleFlight(nursery)

    async def resolve(self, cid: Cid, parts: tuple[str, ...] = ()) -> Resolved:
        """What lies at `cid/part/…`; links are not followed.

        Raises NotFoundError if a directory has no such entry, or if a part is below something
        else; MalformedError for blocks that no UnixFS reader takes; else as `fetch_block`.
        """
        found = await self._at(cid)
        for name in parts:
            entry = _entry(found, name)
            self._sources.belongs(entry.cid, found.cid)
            found = await self._child(entry)
        return found

    async def children(self, directory: Resolved) -> dict[str, Resolved]:
        """Everything in a directory by its name, whole: raises as `resolve` if one is not had."""
        limiter = trio.CapacityLimiter(_CHILDREN_AT_ONCE)

        async def child(entry: Entry) -> Resolved:
            async with limiter:
                return await self._child(entry)

        for entry in directory.entries:
            self._sources.belongs(entry.cid, directory.cid)
        found = await all_of([partial(child, entry) for entry in directory.entries])
        names = [entry.name for entry in directory.entries]
        return dict(zip(names, found, strict=True))

    def raw_block(self, cid: Cid) -> bytes | None:
        """A verified raw block that is still in memory, since its length was asked for."""
        return self._blocks.get(cid) if cid.codec == RAW else None

    async def _child(self, entry: Entry) -> Resolved:
        if entry.cid.codec == RAW:  # a raw block's own size is all there is to it
            return Resolved(Kind.FILE, entry.cid, entry.tsize)
        return await self._at(entry.cid)

    async def _at(self, cid: Cid) -> Resolved:
        if cid.codec == RAW and cid.inline is None:
            size = self._local_size(cid)
            if size is not None:
                return Resolved(Kind.FILE, cid, size)
        node: FileNode | DirectoryNode | SymlinkNode | None = self._dags.node(cid)
        if node is None:
            node = parse_block(cid, await self._block(cid))
        match node:
            case FileNode(size=size):
                return Resolved(Kind.FILE, cid, size)
            case DirectoryNode(entries):
                return Resolved(Kind.DIRECTORY, cid, entries=entries)
            case SymlinkNode(target):
                return Resolved(Kind.SYMLINK, cid, size=len(target.encode()), target=target)

    async def _block(self, cid: Cid) -> bytes:
        block = cid.inline
        if block is None:
            block = self._blocks.get(cid)
        if block is None and cid.codec == DAG_PB:
            block = self._dags.block(cid)
        if block is None:
            block = await self._flights.run(cid, partial(self._fetch, cid))
        return block

    async def _fetch(self, cid: Cid) -> bytes:
        known, find = self._sources.of(cid)
        block = await fetch_block(self._client, cid, known, find)
        self._blocks.put(cid, block)
        if cid.codec == DAG_PB:
            self._nursery.start_soon(self._keep, cid, block)  # nobody has to wait for the disk
        return block

    async def _keep(self, cid: Cid, block: bytes) -> None:
        try:
            await self._dags.keep_fetched(self._sources.origin(cid), [(cid, block)])
        except P2pfsError as error:
            _log.warning("block %s is not kept: %s", cid, error)


def _entry(found: Resolved, name: str) -> Entry:
    for entry in found.entries:
        if entry.name == name:
            return entry
    raise NotFoundError(f"no {name!r} in {found.cid}")


class _Blocks:
    """The blocks used last, up to a number of bytes."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, cid: Cid) -> bytes | None:
        block = self._blocks.get(cid.multihash)
        if block is not None:
            self._blocks.move_to_end(cid.multihash)
        return block

    def put(self, cid: Cid, block: bytes) -> None:
        if cid.multihash in self._blocks:
            return
        self._blocks[cid.multihash] = block
        self._bytes += len(block) + _KEPT_OVERHEAD_BYTES
        while self._bytes > _KEPT_BYTES:
            _, dropped = self._blocks.popitem(last=False)
            self._bytes -= len(dropped) + _KEPT_OVERHEAD_BYTES
