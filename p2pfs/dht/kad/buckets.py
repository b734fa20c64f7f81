"""What is known of other nodes, in 160 buckets by the prefix that their ids share with the own one.

Pure, and of no opinion what is known, or how many a bucket may hold: that is `table`'s.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Generic, TypeVar

from p2pfs.network import NODE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Set

BUCKETS = NODE_ID_BYTES * 8

T = TypeVar("T")


class Buckets(Generic[T]):
    """One value an id."""

    def __init__(self, own_id: bytes) -> None:
        self._own = int.from_bytes(own_id, "big")
        # By number, so that whoever looks for the closest touches no value but theirs.
        self._held: dict[int, dict[int, T]] = {}

    def bucket(self, node_id: bytes) -> int:
        """Where an id belongs: how many first bits it shares with the own one."""
        return bucket_at(self._own ^ int.from_bytes(node_id, "big"))

    def held(self) -> Set[int]:
        """The buckets that hold any."""
        return self._held.keys()

    def beside(self, node_id: bytes) -> Collection[T]:
        """All in the bucket of an id."""
        return self._held.get(self.bucket(node_id), {}).values()

    def put(self, node_id: bytes, value: T) -> None:
        """Take in an id that is not held."""
        group = self._held.setdefault(self.bucket(node_id), {})
        group[int.from_bytes(node_id, "big")] = value

    def remove(self, node_id: bytes) -> None:
        """Let go of an id that is held."""
        bucket = self.bucket(node_id)
        del self._held[bucket][int.from_bytes(node_id, "big")]
        if not self._held[bucket]:
            del self._held[bucket]

    def outwards(self, key: bytes) -> Iterator[T]:
        """All, the closest to a key first."""
        return chain.from_iterable(self._sorted(int.from_bytes(key, "big")))

    def closest(self, key: bytes, count: int) -> list[T]:
        """The `count` closest to a key, the closest first."""
        return list(islice(self.outwards(key), count))

    def closer(self, key: bytes, without: Iterable[int] = ()) -> int:
        """How many are closer to a key than the own id is, without one in each of these buckets.

        See `_groups`; nothing is sorted.
        """
        away, count = self._own ^ int.from_bytes(key, "big"), 0
        for bucket, group in self._held.items():
            if away >> (BUCKETS - 1 - bucket) & 1:
                count += len(group)
        for bucket in without:
            count -= away >> (BUCKETS - 1 - bucket) & 1
        return count

    def _sorted(self, key: int) -> Iterator[Iterator[T]]:
        for group in self._groups(self._own ^ key):
            ordered = sorted([number ^ key for number in group])
            yield map(group.__getitem__, map(key.__xor__, ordered))

    def _groups(self, away: int) -> Iterator[dict[int, T]]:
        """All in groups, each of them closer to a key so far away than what comes after.

        Where key and own id differ in a bit, the bucket that begins to differ from the own id there
        is closer to the key than all deeper ones; where they agree, it is farther.
        """
        farther = []
        for bucket in sorted(self._held):
            if away >> (BUCKETS - 1 - bucket) & 1:
                yield self._held[bucket]
            else:
                farther.append(bucket)
        for bucket in reversed(farther):
            yield self._held[bucket]


def bucket_at(away: int) -> int:
    """The bucket of what is so far away from the own id."""
    return min(BUCKETS - 1, BUCKETS - away.bit_length())
