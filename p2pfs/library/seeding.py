"""Which of what was fetched the network is told that it can be had here, wholly or in part.

Which of it others may have is decided in `store.seeding`; telling them is for `providing`.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING

import trio

from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.content.cid import Cid
    from p2pfs.library.providing import Providing
    from p2pfs.library.reading import Reading
    from p2pfs.store.objects import Objects
    from p2pfs.store.shares import Shares

_log = logging.getLogger(__name__)

# Who reads the same at the same time shall find us soon: what is sent to both until then is sent
# twice.
_LOOK_SECONDS = 0.25
# Of less than this little is saved: it is told when it is seen at one look a second, so that a walk
# over thousands of small files is not a lookup each.
_LARGE_BYTES = 4 << 20
_SMALL_SECONDS = 1.0
# What is kept is told at this pace, at some 30 KB each: a start with a full cache costs 3 KB/s.
_KEPT_SECONDS = 10.0
# The latest used: at that pace all are told within three hours, and renewed for as much again.
MAX_KEPT = 1_000


class Seeding:
    """Has what is being fetched provided within a second, and what is kept as long as it is."""

    def __init__(
        self,
        providing: Providing,
        objects: Objects,
        shares: Shares,
        reading: Reading,
        seeds: Callable[[Cid], bool],
    ) -> None:
        self._providing = providing
        self._objects = objects
        self._shares = shares
        self._reading = reading
        self._seeds = seeds
        self._provided: set[Cid] = set()

    async def run(self) -> None:
        """Until cancelled."""
        small_at = kept_at = -inf
        while True:
            now = trio.current_time()
            try:
                self._provide_fetched(_LARGE_BYTES)
                if now >= small_at + _SMALL_SECONDS:
                    small_at = now
                    self._provide_fetched(0)
                if now >= kept_at + _KEPT_SECONDS:
                    kept_at = now
                    self._follow_kept()
            except P2pfsError as error:  # the disk's trouble, and may be over the next time
                _log.warning("what is cached cannot be read: %s", error)
            await trio.sleep(_LOOK_SECONDS)

    def _provide_fetched(self, least_bytes: int) -> None:
        """Those of which something is here, and at least so much is not."""
        for transfer in self._reading.transfers():
            missing_bytes = transfer.size - transfer.present_bytes
            is_due = transfer.present_bytes and missing_bytes >= least_bytes
            if is_due and self._is_wanted(transfer.cid):
                self._provide(transfer.cid)

    def _follow_kept(self) -> None:
        """One more of what is kept; and no more what is not, or is not to be had any more."""
        kept = [found.cid for found in self._objects.cached()[:MAX_KEPT] if found.size]
        fetching = {transfer.cid for transfer in self._reading.transfers()}
        for cid in self._provided - fetching:
            if cid not in kept or not self._seeds(cid):
                self._provided.discard(cid)
                self._providing.stop(cid, self)
        fresh = (cid for cid in kept if cid not in self._provided and self._is_wanted(cid))
        first = next(fresh, None)
        if first is not None:
            self._provide(first)

    def _provide(self, cid: Cid) -> None:
        self._provided.add(cid)
        self._providing.provide(cid, self)

    def _is_wanted(self, cid: Cid) -> bool:
        """Own files are announced by name, and with more copies."""
        return self._seeds(cid) and not self._shares.by_cid(cid)
