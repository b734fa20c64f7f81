"""The time as the network counts it, where this machine's clock is off."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.dht.kad.overlay import KadOverlay

# docs/wire.md, section 9: what records may be off, since who is off by more is not believed.
_PEERS_DIFFER_SECONDS = 300.0
# Half of what sealed datagrams may be off: a Date has whole seconds, and took some time to come.
_A_MEMBER_DIFFERS_SECONDS = 30.0
_COMPARE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class NetworkClock:
    """UNIX seconds: this machine's, and by how much it is off."""

    def __init__(self, system: Callable[[], float] = time.time) -> None:
        self.offset = 0.0
        self._system = system

    def __call__(self) -> float:
        return self._system() + self.offset

    @property
    def problem(self) -> str:
        """What is to be said of this machine's clock, for a person; empty if nothing is."""
        off = round(self.offset)
        if not off:
            return ""
        return (
            f"this machine's clock is {abs(off)} s {'slow' if off > 0 else 'fast'}, which is mended"
        )

    def set(self, now: float) -> bool:
        """Take a member's word for the time; whether this clock is off."""
        off = now - self._system()
        self._put(off if abs(off) > _A_MEMBER_DIFFERS_SECONDS else 0.0)
        return bool(self.offset)

    def adjust(self, difference: float) -> bool:
        """Follow most peers, who show so many seconds more, if that matters; whether it does."""
        if abs(difference) <= _PEERS_DIFFER_SECONDS:
            return False
        off = self.offset + difference
        self._put(off if abs(off) > _PEERS_DIFFER_SECONDS else 0.0)
        return True

    def _put(self, offset: float) -> None:
        if abs(offset - self.offset) > 1:
            _log.warning("counting with a clock that is %.0f s off", offset)
        self.offset = offset


async def follow_peers(clock: NetworkClock, kad: KadOverlay) -> None:
    """Compare with what peers' proofs show, until cancelled."""
    while True:
        await trio.sleep(_COMPARE_SECONDS)
        await kad.set_clock(clock.adjust)
