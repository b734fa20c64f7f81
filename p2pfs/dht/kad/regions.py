"""The closest nodes to a key, out of what lookups nearby have just found.  Pure.

Published files share tags and words, and many keys share their closest nodes: what is stored at a
steady rate need not look up each on its own.  Whoever reads always looks anew.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.table import K

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.dht.kad.contacts import Contact

# Who has come since gets its copies from the neighbours; who has gone is noticed by its silence.
REMEMBERED_SECONDS = 3_600
# What 1,000 files look up in that time, at 19 keys each and renewed over three hours: 1 MB.
_MAX_REGIONS = 4_096


@dataclass(frozen=True, slots=True)
class _Region:
    """`closest` are all nodes that lie no farther from `key` than `reach`."""

    key: bytes
    closest: tuple[Contact, ...]
    reach: int
    found: float


class Regions:
    """What the last lookups found, each for a while; times are monotonic seconds."""

    def __init__(self, k: int = K) -> None:
        self._k = k
        self._regions: OrderedDict[bytes, _Region] = OrderedDict()
        self._order: list[bytes] = []  # the same keys, sorted

    def found(self, key: bytes, closest: Sequence[Contact], now: float) -> None:
        """Learn from a lookup that ended; fewer than k nodes are no region to rely on."""
        if len(closest) < self._k:
            return
        reach = distance(closest[-1].node_id, key)
        self._remove(key)
        self._regions[key] = _Region(key, tuple(closest), reach, now)
        insort(self._order, key)
        if len(self._regions) > _MAX_REGIONS:
            self._remove(next(iter(self._regions)))

    def closest(self, key: bytes, count: int, now: float) -> list[Contact]:
        """The `count` closest nodes to a key, the closest first; empty unless that is certain."""
        self._expire(now)
        nearest = self._nearest(key)
        if nearest is None or count > len(nearest.closest):
            return []
        ordered = sorted(nearest.closest, key=lambda contact: distance(contact.node_id, key))
        farthest = distance(ordered[count - 1].node_id, key)
        # A node as close to `key` as that is at most this far from the region's own key (the
        # triangle inequality of XOR), so none that is closer is missing.
        known = farthest + distance(nearest.key, key) <= nearest.reach
        return ordered[:count] if known else []

    def forget(self, contact: Contact) -> None:
        """A node is silent: look up anew what it belongs to."""
        for key, region in list(self._regions.items()):
            if contact in region.closest:
                self._remove(key)

    def _nearest(self, key: bytes) -> _Region | None:
        """Of the regions one that shares as many first bits with a key as any."""
        at = bisect_left(self._order, key)
        beside = self._order[max(0, at - 1) : at + 1]
        nearest = min(beside, key=lambda each: distance(each, key), default=None)
        return None if nearest is None else self._regions[nearest]

    def _expire(self, now: float) -> None:
        while self._regions:
            oldest = next(iter(self._regions.values()))
            if now < oldest.found + REMEMBERED_SECONDS:
                return
            self._remove(oldest.key)

    def _remove(self, key: bytes) -> None:
        if self._regions.pop(key, None) is not None:
            del self._order[bisect_left(self._order, key)]
