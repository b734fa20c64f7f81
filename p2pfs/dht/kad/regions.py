"""The closest nodes to a key, out of what lookups nearby have just found.  Pure.

Published files share tags and words, and many keys share their closest nodes: what is stored at a
steady rate need not look up each on its own.  Whoever reads always looks anew.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.table import K

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.dht.kad.contacts import Contact

# Who has come since gets its copies from the neighbours; who has gone is noticed by its silence.
_REMEMBERED_SECONDS = 600
# All of a network of some thousand nodes; a look through them takes 0.1 ms.
_MAX_REGIONS = 256


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

    def found(self, key: bytes, closest: Sequence[Contact], now: float) -> None:
        """Learn from a lookup that ended; fewer than k nodes are no region to rely on."""
        if len(closest) < self._k:
            return
        reach = distance(closest[-1].node_id, key)
        self._regions.pop(key, None)
        self._regions[key] = _Region(key, tuple(closest), reach, now)
        if len(self._regions) > _MAX_REGIONS:
            self._regions.popitem(last=False)

    def closest(self, key: bytes, count: int, now: float) -> list[Contact]:
        """The `count` closest nodes to a key, the closest first; empty unless that is certain."""
        live = [each for each in self._regions.values() if self._is_live(each, now)]
        nearest = min(live, key=lambda region: distance(region.key, key), default=None)
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
                del self._regions[key]

    def _is_live(self, region: _Region, now: float) -> bool:
        return now < region.found + _REMEMBERED_SECONDS
