"""What of one object is here, what it takes of the disk, and what of that may go.

Whether it is right is for `object`; what has to go is chosen by `room`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from p2pfs.content.intervals import Intervals
from p2pfs.store.holes import BLOCK_BYTES, blocks_of, hole_around
from p2pfs.store.leases import Lease, Leases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Span = tuple[int, int]

# What is evicted at once: a few chunks, so that a hole is worth its system call.
SEGMENT_BYTES = 1 << 20
# What was here before it was opened in this run.
_LONG_AGO = 0.0


class Presence:
    """Changed on the loop's thread only, but for leases.

    `dropped` is not present any more, or never landed, and may still take blocks of the disk.
    """

    def __init__(self, size: int) -> None:
        self.present = Intervals()
        self.disk_bytes = 0
        """What the blocks take that hold something present."""
        self.windows: dict[object, tuple[Span, ...]] = {}
        """What each reader will want next: it goes last, and `transfer` brings it."""
        self.leases = Leases()
        self._size = size
        self._dropped = Intervals()
        self._recent: OrderedDict[int, float] = OrderedDict()  # segment: when it was used last

    def recall(self, present: Intervals) -> None:
        """What was present before it was opened."""
        self.present = present
        self.disk_bytes = blocks_of(present)

    def add(self, start: int, stop: int) -> None:
        """Here from now on."""
        before = self._blocks_around(start, stop)
        self.present.add(start, stop)
        self.disk_bytes += self._blocks_around(start, stop) - before
        self._touch(start, stop)

    def remove(self, start: int, stop: int) -> None:
        """Not here any more; what it takes of the disk is given back by `take_holes`."""
        before = self._blocks_around(start, stop)
        self.present.remove(start, stop)
        self.disk_bytes += self._blocks_around(start, stop) - before
        self._dropped.add(start, stop)

    def abandon(self, spans: Iterable[Span]) -> None:
        """Something was perhaps written here, and has not landed."""
        for start, stop in spans:
            for gap in self.present.gaps(start, stop):
                self._dropped.add(*gap)

    @property
    def has_dropped(self) -> bool:
        """Whether there may be something for `take_holes`."""
        return bool(self._dropped)

    def lease(self, start: int, stop: int) -> Lease:
        """Nothing of this goes while the lease is held: `with` it."""
        self._touch(start, stop)
        return Lease(self.leases, start, stop)

    def windows_spans(self) -> Iterable[Span]:
        """All that readers will want next."""
        return (span for spans in self.windows.values() for span in spans)

    def stalest(self) -> Iterator[tuple[float, Span]]:
        """What is present, a segment at a time, the longest unused first, each with when."""
        for start, stop in list(self.present):
            for segment in range(start // SEGMENT_BYTES, -(-stop // SEGMENT_BYTES)):
                if segment not in self._recent:
                    yield _LONG_AGO, _segment(segment)
        for segment, used in list(self._recent.items()):
            if self.present.overlaps(*_segment(segment)):
                yield used, _segment(segment)
            else:
                self._recent.pop(segment, None)

    def close_windows(self, start: int, stop: int) -> None:
        """What is evicted is not read ahead again; who comes to it will wait for it."""
        for holder, spans in list(self.windows.items()):
            kept = Intervals(spans)
            kept.remove(start, stop)
            if kept:
                self.windows[holder] = tuple(kept)
            else:
                del self.windows[holder]

    def take_holes(self) -> list[Span]:
        """The blocks that can be given back now; `holes_made` has to be told of each."""
        leased = self.leases.spans()
        needed = Intervals([*self.present, *leased])
        dropped, self._dropped = self._dropped, Intervals()
        holes = []
        for start, stop in dropped:
            for part in leased.overlaps(start, stop):
                self._dropped.add(*part)
            for gone in needed.gaps(start, stop):
                hole = hole_around(gone, needed, self._size)
                if self.leases.begin_hole(*hole):
                    holes.append(hole)
                elif hole[0] < hole[1]:  # it was leased this moment
                    self._dropped.add(*gone)
        return holes

    def holes_made(self, holes: Iterable[Span]) -> None:
        """They are punched: whoever is to write there may."""
        self.leases.end_holes(holes)

    def _touch(self, start: int, stop: int) -> None:
        now = time.monotonic()
        for segment in range(start // SEGMENT_BYTES, -(-stop // SEGMENT_BYTES)):
            self._recent[segment] = now
            self._recent.move_to_end(segment)

    def _blocks_around(self, start: int, stop: int) -> int:
        first, last = start - start % BLOCK_BYTES, stop + -stop % BLOCK_BYTES
        return blocks_of(self.present.overlaps(first, last))


def _segment(number: int) -> Span:
    return number * SEGMENT_BYTES, (number + 1) * SEGMENT_BYTES
