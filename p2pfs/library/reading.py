"""Contents of the network, opened and read by their id: p2pfs' reading half, without a kernel.

Which bytes come from whom is for `transfer`; how far to read ahead is decided in `readahead`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.content.unixfs import parse_file
from p2pfs.content.walk import MAX_DEPTH, Gap, leaves
from p2pfs.errors import NotFoundError
from p2pfs.library.openfile import InlineFile, OpenFile, StoredFile
from p2pfs.library.readahead import AHEAD_BUDGET_BYTES, Budget
from p2pfs.library.resolving import Kind, Resolved, Resolving
from p2pfs.transfer.download import Download, Means
from p2pfs.transfer.slots import Slots

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from p2pfs.content.cid import Cid
    from p2pfs.content.unixfs import Entry, FileNode
    from p2pfs.content.walk import Leaf
    from p2pfs.dht.overlay import Provider
    from p2pfs.library.sources import Sources
    from p2pfs.peers.client import Client
    from p2pfs.store.copies import Copies
    from p2pfs.store.dags import Dags
    from p2pfs.store.object import Object
    from p2pfs.store.objects import Objects
    from p2pfs.store.shares import Shares

__all__ = ["Kind", "OpenFile", "Reading", "Resolved", "Transfer"]

# Of a small cache most is for what readers are at, not for what they may want next.
_AHEAD_PART = 4
# Contents whose last error is remembered after they were closed, for `getfattr`.
_REMEMBERED_ERRORS = 1_024


@dataclass(frozen=True, slots=True)
class Transfer:
    """A content that is open, for `status`: `peers` are bytes by public key."""

    cid: Cid
    size: int
    present_bytes: int
    peers: dict[bytes, int]
    last_error: str


@dataclass(slots=True)
class _Content:
    """What all who have one content open share."""

    held: Object
    download: Download
    users: int = 0


class Reading:
    """Opens contents, each with one download however often it is open."""

    def __init__(
        self,
        objects: Objects,
        dags: Dags,
        shares: Shares,
        copies: Copies,
        client: Client,
        sources: Sources,
        nursery: trio.Nursery,
    ) -> None:
        self._objects = objects
        self._dags = dags
        self._shares = shares
        self._client = client
        self._nursery = nursery
        self._sources = sources
        self._resolving = Resolving(dags, objects, client, self._sources, copies.size, nursery)
        self._means = Means(client, Slots(), objects.room, copies, nursery, sources.own, sources.of)
        self._room = objects.room
        self._budget = Budget(min(AHEAD_BUDGET_BYTES, self._room.quota // _AHEAD_PART))
        self._open: dict[tuple[Cid, int], _Content] = {}
        self._errors: OrderedDict[bytes, str] = OrderedDict()

    async def resolve(self, cid: Cid, parts: tuple[str, ...] = ()) -> Resolved:
        """What lies at `cid/part/…`; see `Resolving.resolve`."""
        return await self._resolving.resolve(cid, parts)

    async def entries(self, directory: Resolved) -> tuple[Entry, ...]:
        """The entries of a directory; see `Resolving.entries`."""
        return await self._resolving.entries(directory)

    async def children(self, directory: Resolved) -> dict[str, Resolved]:
        """Everything in a directory by its name; see `Resolving.children`."""
        return await self._resolving.children(directory)

    async def leaves(self, cid: Cid, size: int) -> AsyncGenerator[Leaf, None]:
        """The blocks with content of a file, in order; nodes that are not here are fetched.

        Raises as `resolve`.
        """
        start = 0
        fetched: OrderedDict[Cid, FileNode] = OrderedDict()

        def known(node: Cid) -> FileNode | None:
            return fetched.get(node) or self._dags.node(node)

        while start < size:
            for found in leaves(cid, size, start, size, known):
                if isinstance(found, Gap):
                    fetched[found.cid] = await self._resolving.file_node(found.cid, cid)
                    if len(fetched) > MAX_DEPTH:  # the walk needs those on its way only
                        fetched.popitem(last=False)
                    break
                start = found.stop
                yield found

    async def open(
        self,
        cid: Cid,
        size: int | None = None,
        providers: Iterable[Provider] = (),
        crc32: int | None = None,
    ) -> OpenFile:
        """A file to read; close it in the end.

        Waits for the network only if its size is not known here; raises as `resolve` then, and
        NotFoundError for what is no file.  `crc32` is the publisher's word: whole content that
        differs is the last error then.
        """
        self._sources.met(cid, providers)
        if size is None or cid.is_identity:
            found = await self._resolving.resolve(cid)
            if found.kind is not Kind.FILE:
                raise NotFoundError(f"{cid} is a {found.kind.value}")
            size = found.size
        inline = None if cid.inline is None else _inline_content(cid, cid.inline)
        return InlineFile(inline) if inline is not None else await self._stored(cid.v1, size, crc32)

    async def find_providers(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        """Tell of everybody else who is known to have it, then of those the overlay finds."""
        known, find = self._sources.of(cid)
        for provider in known:
            found(provider)
        await find(found)

    def held(self, cid: Cid, size: int) -> int:
        """How many bytes of a content are here."""
        content = self._open.get((cid.v1, size))
        if content is not None:
            return content.held.present.total()
        kept = self._objects.held(cid)
        if kept is not None and kept[0] == size:
            return kept[1].total()
        return size if self._is_shared(cid, size) else 0

    def held_bytes(self, cid: Cid) -> int:
        """How many bytes of a content are here, whatever its size is; 0 of a directory."""
        kept = self._objects.held(cid)
        if kept is not None:
            return kept[1].total()
        return max((share.size for share in self._shares.by_cid(cid)), default=0)

    def recent(self) -> list[tuple[Cid, int]]:
        """CID and size of what was fetched and is still cached, the latest used first."""
        return [(cached.cid, cached.size) for cached in self._objects.cached()]

    def last_error(self, cid: Cid) -> str:
        """What went wrong with a content last, and with whom; empty if nothing is known."""
        for content in self._open.values():
            if content.held.cid.multihash == cid.multihash and content.download.last_error:
                return content.download.last_error
        return self._errors.get(cid.multihash, "")

    def transfers(self) -> list[Transfer]:
        """What is open now."""
        return [
            Transfer(
                content.held.cid,
                content.held.size,
                content.held.present.total(),
                {peer.key: peer.fetched_bytes for peer in content.download.peers},
                content.download.last_error,
            )
            for content in self._open.values()
        ]

    async def _stored(self, cid: Cid, size: int, crc32: int | None) -> StoredFile:
        content = self._content(cid, size)
        if crc32 is not None:
            content.download.claimed_crc32 = crc32
        opened = StoredFile(
            content.held, content.download, self._budget, partial(self._close, content)
        )
        block = self._resolving.raw_block(cid)
        if block is not None and len(block) == size and not content.held.present:
            try:
                await self._keep(content.held, block)
            except BaseException:
                opened.close()
                raise
        return opened

    async def _keep(self, held: Object, block: bytes) -> None:
        """A raw root that is in memory, since its length was asked for."""
        with held.presence.lease(0, len(block)), self._room.claim(len(block)):
            await self._room.force()
            await trio.to_thread.run_sync(held.write, 0, block)
            held.landed(0, len(block))

    def _content(self, cid: Cid, size: int) -> _Content:
        content = self._open.get((cid, size))
        known, find = self._sources.of(cid)
        if content is None:
            held = self._objects.open(cid, size)
            download = Download(held, find, self._means)
            content = self._open[cid, size] = _Content(held, download)
        for provider in known:
            content.download.add_provider(provider)
        content.users += 1
        return content

    def _close(self, content: _Content) -> None:
        """With the last that is open of a content, its download ends."""
        content.users -= 1
        if content.users:
            return
        held, download = content.held, content.download
        del self._open[held.cid, held.size]
        self._remember_error(held.cid, download.last_error)
        download.close()
        self._nursery.start_soon(self._give_back, held, download)

    async def _give_back(self, held: Object, download: Download) -> None:
        with trio.CancelScope(shield=True):  # a request's end is waited for, so soon done
            await download.wait_ended()
        self._objects.close(held)

    def _remember_error(self, cid: Cid, error: str) -> None:
        self._errors.pop(cid.multihash, None)
        if error:
            self._errors[cid.multihash] = error
            if len(self._errors) > _REMEMBERED_ERRORS:
                self._errors.popitem(last=False)

    def _is_shared(self, cid: Cid, size: int) -> bool:
        return any(share.size == size for share in self._shares.by_cid(cid))


def _inline_content(cid: Cid, block: bytes) -> bytes | None:
    """A file that its CID holds whole; None if more belongs to it."""
    node = parse_file(cid, block)
    return None if node.children else block[node.data_at : node.data_at + node.data_size]
