"""What is known of each peer from talking to it: round trip, rate, bytes, failures.

Pure.  What follows from it (whom to ask for what) is decided in `transfer`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint

# A file has tens of providers; the counts of those met longest ago are dropped.
_REMEMBERED_PEERS = 4_096
# The weight of the newest measurement: a few answers show a change, one does not.
_NEWEST = 0.3
# Smaller answers lie in the socket before the clock is read.
_LEAST_MEASURED_BYTES = 64 << 10
_LEAST_MEASURED_SECONDS = 1e-4
# Two connections a peer, four where the round trip is long.
_CONNECTIONS = 2
_FAR_CONNECTIONS = 4
_FAR_SECONDS = 0.010


@dataclass(frozen=True, slots=True)
class PeerStats:
    """Times in seconds; `rate` is bytes a second of one request, None before the first."""

    endpoint: Endpoint | None = None
    rtt: float | None = None
    rate: float | None = None
    fetched: int = 0
    failures: int = 0
    wrong: int = 0

    @property
    def is_far(self) -> bool:
        """Whether a round trip is long, so that more has to be under way."""
        return self.rtt is not None and self.rtt > _FAR_SECONDS

    @property
    def connections(self) -> int:
        """How many requests to it can be under way at once."""
        return _FAR_CONNECTIONS if self.is_far else _CONNECTIONS


class Ledger:
    """The stats of each peer by its public key, since the start of the node."""

    def __init__(self) -> None:
        self._stats: OrderedDict[bytes, PeerStats] = OrderedDict()

    def stats(self, public_key: bytes) -> PeerStats:
        """What is known of a peer, of a stranger too."""
        return self._stats.get(public_key, PeerStats())

    def all(self) -> dict[bytes, PeerStats]:
        """Every peer that was asked for something."""
        return dict(self._stats)

    def connected(self, public_key: bytes, endpoint: Endpoint, rtt: float) -> None:
        """A connection was made; the shortest round trip is the path, longer ones are queues."""
        known = self.stats(public_key)
        shortest = rtt if known.rtt is None else min(rtt, known.rtt)
        self._put(public_key, replace(known, endpoint=endpoint, rtt=shortest))

    def received(self, public_key: bytes, count: int, seconds: float) -> None:
        """An answer of so many bytes came in that time, not counting the wait for its beginning."""
        known = self.stats(public_key)
        rate = known.rate
        if count >= _LEAST_MEASURED_BYTES:
            newest = count / max(seconds, _LEAST_MEASURED_SECONDS)
            rate = newest if rate is None else rate + _NEWEST * (newest - rate)
        self._put(public_key, replace(known, rate=rate))

    def verified(self, public_key: bytes, count: int) -> None:
        """So many bytes of content from it were found right."""
        known = self.stats(public_key)
        self._put(public_key, replace(known, fetched=known.fetched + count))

    def failed(self, public_key: bytes) -> None:
        """It could not be reached, was silent, or broke off."""
        known = self.stats(public_key)
        self._put(public_key, replace(known, failures=known.failures + 1))

    def lied(self, public_key: bytes) -> None:
        """It sent what its hash does not allow."""
        known = self.stats(public_key)
        self._put(public_key, replace(known, wrong=known.wrong + 1))

    def _put(self, public_key: bytes, stats: PeerStats) -> None:
        self._stats[public_key] = stats
        self._stats.move_to_end(public_key)
        if len(self._stats) > _REMEMBERED_PEERS:
            self._stats.popitem(last=False)
