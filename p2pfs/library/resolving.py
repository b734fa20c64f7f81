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
from p2pfs.content.hamt import ROOT, Below, Gathering, checked_part, find
from p2pfs.content.unixfs import (
    DirectoryNode,
    Entry,
    FileNode,
    ShardNode,
    SymlinkNode,
    UnixfsNode,
    parse_block,
    parse_file,
)
from p2pfs.errors import NotFoundError, P2pfsError
from p2pfs.transfer.anyone import fetch_block

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2pfs.library.sources import Sources
    from p2pfs.peers.client import Client
    from p2pfs.store.dags import Dags
    from p2pfs.store.objects import Objects

_log = logging.getLogger(__name__)

# Blocks kept in memory: some thousand roots, or the largest directory a few times over.
_KEPT_BYTES = 16 * 1024 * 1024
# A parsed block's cost beside its bytes, roughly.
_KEPT_OVERHEAD_BYTES = 512
# Children asked for at once: ten a second and peer would make a long listing wait.
_CHILDREN_AT_ONCE = 32
# What a gateway answers at once, some 150 KB; whoever takes longer is not waited for.
_NODES_AT_ONCE = 1_024
_NODES_SECONDS = 2.0
# Shards likewise; a round of them is had before the next, so that few tasks wait at a time.
_SHARDS_AT_ONCE = 32


class Kind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a CID stands for: a file's `size`, a directory's `entries`, or a link's `target`.

    Of a sharded directory only the `shard` at its root is known, and `entries` is empty.
    """

    kind: Kind
    cid: Cid
    size: int = 0
    entries: tuple[Entry, ...] = ()
    target: str = ""
    shard: ShardNode | None = None


class Resolving:
    """Resolves by content id, here first, then from peers; blocks that came are kept.

    `local_size` says of a raw block how long it is, if it is here, in whatever content.
    """

    def __init__(
        self,
        dags: Dags,
        objects: Objects,
        client: Client,
        sources: Sources,
        local_size: Callable[[Cid], Awaitable[int | None]],
        nursery: trio.Nursery,
    ) -> None:
        self._dags = dags
        self._objects = objects
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
            entry = await self._entry(found, name)
            self._sources.belongs(entry.cid, found.cid)
            found = await self._child(entry)
        return found

    async def entries(self, directory: Resolved) -> tuple[Entry, ...]:
        """Everything in a directory, sharded or not: raises as `resolve` if a shard is not had."""
        if directory.shard is None:
            return directory.entries
        gathering = Gathering()
        due = gathering.add(directory.shard, ROOT)
        while due:
            batch, due = due[:_SHARDS_AT_ONCE], due[_SHARDS_AT_ONCE:]
            shards = await all_of([partial(self._shard, directory, below) for below in batch])
            for below, shard in zip(batch, shards, strict=True):
                due += gathering.add(shard, below.way)
        return gathering.entries()

    async def children(self, directory: Resolved) -> dict[str, Resolved]:
        """Everything in a directory by its name, whole: raises as `resolve` if one is not had."""
        limiter = trio.CapacityLimiter(_CHILDREN_AT_ONCE)

        async def child(entry: Entry) -> Resolved:
            async with limiter:
                return await self._child(entry)

        entries = await self.entries(directory)
        for entry in entries:
            self._sources.belongs(entry.cid, directory.cid)
        await self._fetch_nodes(directory.cid, [entry.cid for entry in entries])
        found = await all_of([partial(child, entry) for entry in entries])
        names = [entry.name for entry in entries]
        return dict(zip(names, found, strict=True))

    async def file_node(self, cid: Cid, root: Cid) -> FileNode:
        """What a block of a file says; raises as `resolve`."""
        self._sources.belongs(cid, root)
        return parse_file(cid, await self._block(cid))

    def raw_block(self, cid: Cid) -> bytes | None:
        """A verified raw block that is still in memory, since its length was asked for."""
        return self._blocks.get(cid) if cid.codec == RAW else None

    async def _entry(self, directory: Resolved, name: str) -> Entry:
        """One entry; of a sharded directory only the shards on its way are fetched."""
        if directory.shard is None:
            found = next((entry for entry in directory.entries if entry.name == name), None)
        else:
            step = find(directory.shard, ROOT, name)
            while isinstance(step, Below):
                step = find(await self._shard(directory, step), step.way, name)
            found = step
        if found is None:
            raise NotFoundError(f"no {name!r} in {directory.cid}")
        return found

    async def _shard(self, directory: Resolved, below: Below) -> ShardNode:
        assert directory.shard is not None  # noqa: S101 the callers have looked
        self._sources.belongs(below.cid, directory.cid)
        part = parse_block(below.cid, await self._block(below.cid))
        return checked_part(part, directory.shard)

    async def _child(self, entry: Entry) -> Resolved:
        if entry.cid.codec == RAW:  # a raw block's own size is all there is to it
            return Resolved(Kind.FILE, entry.cid, entry.tsize)
        return await self._at(entry.cid)

    async def _at(self, cid: Cid) -> Resolved:
        if cid.codec == RAW and cid.inline is None:
            size = await self._local_size(cid)
            if size is not None:
                return Resolved(Kind.FILE, cid, size)
        self._objects.usage.touch(self._sources.origin(cid).v1)
        node: UnixfsNode | None = self._dags.node(cid)
        if node is None:
            node = parse_block(cid, await self._block(cid))
        match node:
            case FileNode(size=size):
                return Resolved(Kind.FILE, cid, size)
            case DirectoryNode(entries):
                return Resolved(Kind.DIRECTORY, cid, entries=entries)
            case ShardNode():
                return Resolved(Kind.DIRECTORY, cid, shard=node)
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

    async def _fetch_nodes(self, directory: Cid, cids: list[Cid]) -> None:
        """Many blocks of those who have the directory; what is not had is asked for one by one."""
        missing = [cid for cid in dict.fromkeys(cids) if self._is_missing(cid)]
        known, _ = self._sources.of(directory)
        for provider in known:
            try:
                while len(missing) > 1:
                    with trio.fail_after(_NODES_SECONDS):
                        got = await self._client.fetch_nodes(provider, missing[:_NODES_AT_ONCE])
                    for cid, block in got.items():
                        self._blocks.put(cid, block)
                    self._nursery.start_soon(self._keep, directory, list(got.items()))
                    missing = [cid for cid in missing if cid not in got]
            except (P2pfsError, trio.TooSlowError) as error:
                _log.debug("not all of %s is had at once: %s", directory, error)

    def _is_missing(self, cid: Cid) -> bool:
        if cid.codec != DAG_PB or cid.is_identity or self._blocks.get(cid) is not None:
            return False
        return self._dags.node(cid) is None and self._dags.block(cid) is None

    async def _fetch(self, cid: Cid) -> bytes:
        known, find = self._sources.of(cid)
        block = await fetch_block(self._client, cid, known, find)
        self._blocks.put(cid, block)
        if cid.codec == DAG_PB:
            self._nursery.start_soon(
                self._keep, cid, [(cid, block)]
            )  # nobody has to wait for the disk
        return block

    async def _keep(self, below: Cid, blocks: list[tuple[Cid, bytes]]) -> None:
        try:
            await self._objects.directories.keep(self._sources.origin(below), blocks)
        except P2pfsError as error:
            _log.warning("blocks of %s are not kept: %s", below, error)


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
