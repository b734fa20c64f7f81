"""Who has what, as seen by everything above: one interface, and several overlays joined into one.

No overlay itself lives here: `kad` holds the one on the `kademlia` package.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.errors import NoPeersError, P2pfsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2pfs.addresses import Endpoint
    from p2pfs.content.cid import Cid
    from p2pfs.content.metainfo import MetaInfo

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provider:
    """A peer that says it has a content: its 32-byte public key and where its HTTPS port is."""

    public_key: bytes
    addresses: tuple[Endpoint, ...]


class Overlay(Protocol):
    """Every call may take seconds, can be cancelled at any time, and leaves nothing behind.

    Results stream into `found` as they come, each already verified, in no order, perhaps twice.
    A search returns when it is complete; it raises `NoPeersError` if nobody could be asked.
    """

    async def announce(self, cid: Cid, expires: int) -> int:
        """Say until `expires` (UNIX seconds) that we have `cid`; how many others hold that."""

    async def providers(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        """Who has `cid`; this node itself is left out."""

    async def publish(self, meta: MetaInfo) -> int:
        """Store a meta-info under its root, tags and words; the fewest holders of any key."""

    async def search(self, tag: str, found: Callable[[MetaInfo], None]) -> None:
        """Every meta-info under a tag in normal form, withdrawals included."""


class Joined:
    """Several overlays as one, each failing alone; with none yet it is a network without peers.

    What one finds is told at once, however long another takes.  Overlays may be added while calls
    are under way; those calls go on without them.
    """

    def __init__(self, *overlays: Overlay) -> None:
        self._overlays = overlays

    def add(self, overlay: Overlay) -> None:
        """Ask this one too from now on."""
        self._overlays += (overlay,)

    async def announce(self, cid: Cid, expires: int) -> int:
        """As `Overlay.announce`; copies are counted over all."""
        return sum(await self._all(lambda overlay: overlay.announce(cid, expires)))

    async def providers(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        """As `Overlay.providers`."""
        await self._find(found, lambda overlay, found: overlay.providers(cid, found))

    async def publish(self, meta: MetaInfo) -> int:
        """As `Overlay.publish`; of the overlay that keeps it best."""
        return max(await self._all(lambda overlay: overlay.publish(meta)))

    async def search(self, tag: str, found: Callable[[MetaInfo], None]) -> None:
        """As `Overlay.search`."""
        await self._find(found, lambda overlay, found: overlay.search(tag, found))

    async def _find(
        self,
        found: Callable[[T], None],
        call: Callable[[Overlay, Callable[[T], None]], Awaitable[None]],
    ) -> None:
        """Ask all; what `found` raises is no overlay's failure, and ends the whole call."""
        refused: list[Exception] = []

        def tell(result: T) -> None:
            if refused:
                return
            try:
                found(result)
            except Exception as error:  # noqa: BLE001 raised below, past the overlays
                refused.append(error)
                asking.cancel()

        with trio.CancelScope() as asking:
            await self._all(lambda overlay: call(overlay, tell))
        if refused:
            raise refused[0]

    async def _all(self, call: Callable[[Overlay], Awaitable[T]]) -> list[T]:
        """The results of those that did not fail; if all did, the failure that says most."""
        results: list[T] = []
        failures: list[Exception] = []

        async def ask(overlay: Overlay) -> None:
            try:
                results.append(await call(overlay))
            except P2pfsError as error:
                failures.append(error)
            except Exception as error:  # noqa: BLE001 a fault of one is not the others'
                _log.exception("an overlay failed")
                failures.append(error)

        async with open_nursery() as nursery:
            for overlay in self._overlays:
                nursery.start_soon(ask, overlay)
        if not results:
            failures.append(NoPeersError("this node is not in a network yet"))
            raise min(failures, key=_tells_nothing)
        return results


def _tells_nothing(failure: Exception) -> tuple[bool, bool]:
    """Sorts what happened before what could not be tried, and both before a fault of ours."""
    return not isinstance(failure, P2pfsError), isinstance(failure, NoPeersError)
