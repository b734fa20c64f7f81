"""How many nodes there are, and what follows: how much of a key hops see, which regions are odd.

Pure: the dice are the caller's.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING

from p2pfs.dht.kad.buckets import BUCKETS
from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.table import K
from p2pfs.network import NODE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.dht.kad.contacts import Contact

# A median over fewer would move with every lookup, over more would not notice growth.
_LOOKUPS_REMEMBERED = 64
# So many are remembered over a restart: enough to begin with, and soon outweighed where the network
# has grown or shrunk meanwhile.
_LOOKUPS_KEPT = 8
_DISTANCE_BYTES = NODE_ID_BYTES + 1
# Stands for the k-th distance where fewer than k nodes were found: all of the space.
_EVERYWHERE = 1 << BUCKETS
# Distances scatter, and views differ: four times the expected one refuses nobody honest.
_CLOSE_ENOUGH = 4
# Beyond what leads to the k closest; with 8 more no two of them are mistaken for each other, and of
# the keys of a dictionary a hop still cannot tell which was meant.
_SPARE_BITS = 8
# Chance puts the 20th closest node so near to a key once in 20,000 lookups, the 8th once in 120.
_SUSPICIOUSLY_NEAR = 0.35
# Whoever takes the places of a record's copies need not take all k.
_FEWEST_COPIES = 8
# Halves of what is left of a region around its key: three hold 7 of 8 of its nodes.
_PROBES = 3


class SizeEstimate:
    """The density of ids, as the median of what the last lookups found."""

    def __init__(self, k: int = K) -> None:
        self._k = k
        self._kth: deque[int] = deque(maxlen=_LOOKUPS_REMEMBERED)

    def found(self, key: bytes, closest: Sequence[Contact], count: int) -> None:
        """Learn from a lookup of the `count` closest that ended; fewer are all that there are.

        Nobody at all says only that this node is cut off.
        """
        if not closest:
            return
        rank, kth = min(self._k, count), _EVERYWHERE
        if len(closest) < rank < self._k:  # others were silent, or the network is tiny
            return
        # A visit to a few does not say whether there are k at all; the own lookup before it does.
        knows_all = rank < self._k and self._kth and self._kth[-1] == _EVERYWHERE
        if len(closest) >= rank and not knows_all:
            # Medians, as all of these enter one: half of all r-th ids are within (r - 1/3) / N.
            away = distance(closest[rank - 1].node_id, key)
            kth = min(kth, away * (3 * self._k - 1) // (3 * rank - 1))
        self._kth.append(kth)

    def encode(self) -> bytes:
        """The last few distances, for the next run."""
        kept = list(self._kth)[-_LOOKUPS_KEPT:]
        return b"".join(each.to_bytes(_DISTANCE_BYTES, "big") for each in kept)

    def restore(self, kept: bytes) -> None:
        """Begin with what `encode` gave; bytes that it did not give are ignored."""
        pieces = (
            kept[at : at + _DISTANCE_BYTES]
            for at in range(0, _LOOKUPS_KEPT * _DISTANCE_BYTES, _DISTANCE_BYTES)
        )
        distances = (int.from_bytes(each, "big") for each in pieces if len(each) == _DISTANCE_BYTES)
        self._kth.extend(each for each in distances if 0 < each <= _EVERYWHERE)

    @property
    def reach(self) -> int | None:
        """How far the k-th closest node to a key is; None while fewer than k nodes are known."""
        if not self._kth:
            return None
        median = statistics.median_low(self._kth)
        return None if median == _EVERYWHERE else median

    def is_close(self, own_id: bytes, key: bytes) -> bool:
        """Whether a record under a key belongs here; all do while fewer than k nodes are found."""
        if self.reach is None or self._kth[-1] == _EVERYWHERE:
            return True
        return distance(own_id, key) <= _CLOSE_ENOUGH * self.reach

    def is_suspect(self, key: bytes, closest: Sequence[Contact]) -> bool:
        """Whether nodes lie so close to a key that somebody has made their ids for it."""
        reach = self.reach
        return reach is not None and any(
            distance(closest[rank - 1].node_id, key) * self._k < _SUSPICIOUSLY_NEAR * reach * rank
            for rank in {min(_FEWEST_COPIES, self._k), self._k}
            if rank <= len(closest)
        )


def blinded(key: bytes, reach: int, noise: bytes) -> bytes:
    """The key as hops may see it: it leads to the same k nodes, its last bits are noise (20 bytes).

    A hop learns ceil(log2(nodes / k)) + 8 bits.
    """
    hidden = max(0, reach.bit_length() - 1 - _SPARE_BITS)
    return _mixed(key, noise, hidden)


def probes(key: bytes, reach: int, noise: bytes) -> list[bytes]:
    """Points around a key, out of which the nodes up to `reach` can be seen past a crowd at it."""
    highest = reach.bit_length() - 1
    bits = range(highest, max(-1, highest - _PROBES), -1)
    return [_mixed(_flipped(key, bit), noise, bit) for bit in bits]


def _flipped(key: bytes, bit: int) -> bytes:
    return (int.from_bytes(key, "big") ^ (1 << bit)).to_bytes(NODE_ID_BYTES, "big")


def _mixed(key: bytes, noise: bytes, bits: int) -> bytes:
    mask = (1 << bits) - 1
    kept = int.from_bytes(key, "big") & ~mask
    return (kept | int.from_bytes(noise, "big") & mask).to_bytes(NODE_ID_BYTES, "big")
