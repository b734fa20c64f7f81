"""`info`: all that is known of a content, in one answer.

Each fact is asked of whom it belongs to; showing it to a person is for `cli.info`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import deadline, open_nursery
from p2pfs.content.cid import parse_cid
from p2pfs.control.asked import Asked, ContentInfo, OwnFile
from p2pfs.control.calls import Answering
from p2pfs.errors import MalformedError, P2pfsError, UsageError
from p2pfs.identity import peer_id
from p2pfs.library.below import all_below
from p2pfs.library.listings import build_listing
from p2pfs.library.names import safe_name
from p2pfs.library.resolving import Kind, Resolved
from p2pfs.status import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2pfs.content.cid import Cid
    from p2pfs.control.calls import Endpoint
    from p2pfs.dht.overlay import Provider
    from p2pfs.library.listings import ListedFile
    from p2pfs.library.metas import Metas
    from p2pfs.library.ownfiles import OwnFiles
    from p2pfs.library.reading import Reading
    from p2pfs.store.pins import Pins
    from p2pfs.store.share import ShareState
    from p2pfs.store.shares import Shares

# A person waits; what is known by then is told.
_LOOK_SECONDS = 6
# Beyond that, for all that is in a directory.
_LIST_SECONDS = 4


@dataclass(frozen=True, slots=True)
class Known:
    """Whom to ask."""

    reading: Reading
    metas: Metas
    own_files: OwnFiles
    shares: Shares
    state: Callable[[bytes], tuple[ShareState, str]]
    pins: Pins

    async def info(self, asked: Asked) -> ContentInfo:
        """Raises as resolving does if not even a publisher has said anything."""
        try:
            root = parse_cid(asked.cid)
        except MalformedError as error:
            raise UsageError(f"{asked.cid!r} is no content id") from error
        providers: dict[bytes, Provider] = {}
        found = await self._looked_up(root, asked, providers)
        below = await self._below(found)
        listed = self._described(found.cid)
        last_error = self.reading.last_error(found.cid)
        names = {safe_name(meta.name) for meta in self.metas.of(found.cid) if not meta.withdrawn}
        names |= {safe_name(listed.name)} if listed else set()
        keys = dict.fromkeys([*providers, *(one.public_key for one in _providers(listed))])
        return ContentInfo(
            cid=str(found.cid),
            kind=found.kind.value,
            size=sum(one.size for one in _files(below)) if below else found.size,
            names=sorted(names),
            tags=list(listed.tags) if listed else [],
            mime=listed.mime if listed else "",
            crc32=f"{listed.crc32:08x}" if listed else "",
            published=listed.published if listed else None,
            publishers=_peer_ids(listed.publishers if listed else ()),
            providers=_peer_ids(keys),
            cached=self._percent(_files(below) if below else [found]),
            pinned=self.pins.is_pinned(found.cid),
            own=self._own(found.cid),
            last_error=last_error,
            entries=await self._entries(found),
        )

    async def _looked_up(
        self, root: Cid, asked: Asked, providers: dict[bytes, Provider]
    ) -> Resolved:
        """What it is; who has it is looked for meanwhile."""

        async def look() -> None:
            with trio.move_on_after(_LOOK_SECONDS), suppress(P2pfsError):
                await self.reading.find_providers(
                    root, lambda provider: providers.update({provider.public_key: provider})
                )

        async with open_nursery() as nursery:
            nursery.start_soon(look)
            try:
                with deadline(_LOOK_SECONDS, f"looking up {root}"):
                    return await self.reading.resolve(root, tuple(asked.path))
            except P2pfsError:
                listed = None if asked.path else self._described(root)
                if listed is None:
                    raise
                return Resolved(Kind.FILE, root, listed.size)  # nobody has it, but it was told of

    def _described(self, cid: Cid) -> ListedFile | None:
        own = self.own_files.of(cid)
        now = int(time.time())
        listing = build_listing("", [own] if own else [], self.metas.of(cid), {}, now)
        return next(iter(listing.entries.values()), None)

    async def _below(self, found: Resolved) -> list[Resolved]:
        """All of a directory; nothing of what is none, or cannot be listed in time."""
        if found.kind is Kind.DIRECTORY:
            with suppress(P2pfsError), trio.move_on_after(_LIST_SECONDS):
                return await all_below(self.reading, found)
        return []

    async def _entries(self, found: Resolved) -> int | None:
        if found.kind is Kind.DIRECTORY:
            with suppress(P2pfsError), trio.move_on_after(_LIST_SECONDS):
                return len(await self.reading.entries(found))
        return None

    def _percent(self, files: list[Resolved]) -> int | None:
        if any(found.kind is not Kind.FILE for found in files):
            return None
        size = sum(found.size for found in files)
        held = sum(self.reading.held(found.cid, found.size) for found in files)
        return 100 * held // size if size else 100

    def _own(self, cid: Cid) -> list[OwnFile]:
        return [
            OwnFile(text_of(share.path), ": ".join(filter(None, self.state(share.path))))
            for share in self.shares.by_cid(cid)
        ]


def info_endpoints(known: Known) -> dict[str, Endpoint]:
    """What can be asked of all that is known."""
    return {"info": Answering(Asked, known.info)}


def _files(below: Iterable[Resolved]) -> list[Resolved]:
    return [found for found in below if found.kind is Kind.FILE]


def _providers(listed: ListedFile | None) -> tuple[Provider, ...]:
    return listed.providers if listed else ()


def _peer_ids(keys: Iterable[bytes]) -> list[str]:
    return [peer_id(key) for key in keys if key]
