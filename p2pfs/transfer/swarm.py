"""Who brings which part of a file, where several nodes read it at once from one who has all.

Pure: no I/O, no clock.  Whom to ask for what is decided in `plan`.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from p2pfs.transfer.standing import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from p2pfs.transfer.run import Span
    from p2pfs.transfer.standing import Standing

# What falls to one reader in one piece: long enough that a request's own cost is not felt, short
# enough that a window of read-ahead holds some of each reader's.
PART_BYTES = MIB
# Who gets parts no further behind what is wanted here reads ahead into that: half a window.
_BEHIND_BYTES = 16 * MIB
# Nothing is left to a peer whose requests have become so many times shorter, since it is so much
# slower, than those of one who has all.
_SLOWER = 4
# Weights that are remembered: those of the parts of some windows, for each of the readers.
_REMEMBERED_WEIGHTS = 4_096


class Swarm:
    """The peers that have parts of the file; those of them that read where we do share with us.

    What none of them has falls to one of the readers, by rendezvous hashing (Thaler, Ravishankar
    1998): they agree on it without a word, and who comes or goes changes only what falls to him.
    `me` is the own key.
    """

    def __init__(self, peers: Mapping[bytes, Standing], me: Callable[[], bytes]) -> None:
        self._peers = peers
        self._me = me

    def partial(self) -> list[Standing]:
        """Those who have parts only."""
        peers = self._peers.values()
        return [peer for peer in peers if not (peer.is_whole or peer.is_dropped)]

    def ours(self, spans: Iterable[Span], window: Span, now: float) -> list[Span]:
        """What of these falls to this node while it reads in that window.

        What nobody has comes first, so that others can get it here.
        """
        sharers, partial = self._sharers(window, now), self.partial()
        ours = (part for part in pieces(spans) if self._is_ours(part[0], sharers))
        return sorted(ours, key=lambda part: any(peer.has(part[0]) for peer in partial))

    def let_down(self, position: int, window: Span, now: float) -> None:
        """What was left to another there blocks a reader: that one is left nothing for a while.

        Else whoever only says that it reads here could stall all others.
        """
        sharers = self._sharers(window, now)
        if sharers and not any(peer.has(position) for peer in sharers):
            part = position // PART_BYTES
            min(sharers, key=lambda peer: _weight(peer.key, part)).let_down(now)

    def _sharers(self, window: Span, now: float) -> list[Standing]:
        """Whom something can be left to: they get more there, and not much slower than we can."""
        whole = (peer.run_bytes for peer in self._peers.values() if peer.is_whole)
        least = max(whole, default=0) / _SLOWER
        place = window[0] - _BEHIND_BYTES, window[1]
        readers = (peer for peer in self.partial() if peer.is_reading(place, now))
        return [peer for peer in readers if peer.run_bytes >= least]

    def _is_ours(self, position: int, sharers: Iterable[Standing]) -> bool:
        part = position // PART_BYTES
        ours = _weight(self._me(), part)
        return all(_weight(peer.key, part) > ours and not peer.has(position) for peer in sharers)


def pieces(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans cut where what falls to one reader ends."""
    for start, stop in spans:
        at = start
        while at < stop:
            end = min(stop, at - at % PART_BYTES + PART_BYTES)
            yield at, end
            at = end


@lru_cache(_REMEMBERED_WEIGHTS)
def _weight(key: bytes, part: int) -> bytes:
    return blake2b(part.to_bytes(8, "big"), key=key, digest_size=8).digest()
