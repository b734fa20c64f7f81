"""How much one address may make this node do, and how often a silent one is knocked at.

Times are monotonic seconds, handed in.  Every table is bounded: what was not met for longest goes,
and is the first in its dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.addresses import client_group

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint

# Beyond this many sources at once the oldest is forgotten, and with it its debt: 64 bytes each.
_REMEMBERED = 4_096
# Three datagrams of 120 bytes are no weapon against somebody whose address a liar hands out.
_FIRST_DATAGRAMS = 3
_FIRST_WINDOW_SECONDS = 300.0
# Who has forgotten that it knocked does so again.  To bring that about within five minutes takes
# 136 lookups that meet nobody but the dead; 300 bytes each.
_KNOCKED_AT = 16_384


class RateLimit:
    """A token bucket for each source: `per_second` in the long run, `burst` at once.

    Whoever has an IPv6 network of his own has one for all of it.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, ip: str, now: float) -> bool:
        """Whether one more of a canonical IP is within the limit; if so it is counted."""
        source = client_group(ip)
        left, since = self._left.pop(source, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        allowed = left >= 1
        self._left[source] = (left - 1 if allowed else left, now)
        self._forget_one(now)
        return allowed

    def _forget_one(self, now: float) -> None:
        """The oldest, if its bucket is full again, as a stranger's is, or if they are many."""
        oldest = next(iter(self._left))
        left, since = self._left[oldest]
        is_full = left + (now - since) * self._per_second >= self._burst
        if is_full or len(self._left) > _REMEMBERED:
            del self._left[oldest]


class FirstContacts:
    """Datagrams to addresses that have never answered: three in five minutes each."""

    def __init__(self) -> None:
        self._sent: dict[Endpoint, tuple[float, ...]] = {}

    def allows(self, address: Endpoint, now: float) -> bool:
        """Whether one more datagram may go there; if so it is counted."""
        sent = self._sent.pop(address, ())
        recent = tuple(at for at in sent if now - at < _FIRST_WINDOW_SECONDS)
        allowed = len(recent) < _FIRST_DATAGRAMS
        self._sent[address] = (*recent, now) if allowed else recent
        if len(self._sent) > _KNOCKED_AT:
            del self._sent[next(iter(self._sent))]
        return allowed
