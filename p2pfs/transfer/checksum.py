"""The CRC-32 of a content out of its pieces, in whatever order they land.

The hashes have proven every byte; this finds a publisher whose description is not of the content.
"""

from __future__ import annotations

import threading
import zlib

from p2pfs.content.crc import crc32_combine
from p2pfs.content.intervals import Intervals


class Checksum:
    """Holds one entry for each gapless run of pieces; pieces may be added by several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._known = Intervals()
        self._by_start: dict[int, tuple[int, int]] = {}  # start: (stop, CRC-32)
        self._start_of: dict[int, int] = {}  # stop: start

    def add(self, start: int, piece: bytes | memoryview) -> None:
        """Verified bytes; those of a place that came before do not count again."""
        stop, crc = start + len(piece), zlib.crc32(piece)
        with self._lock:
            if self._known.overlaps(start, stop):
                return
            self._known.add(start, stop)
            if stop in self._by_start:
                next_stop, next_crc = self._by_start.pop(stop)
                crc = crc32_combine(crc, next_crc, next_stop - stop)
                stop = next_stop
            if start in self._start_of:
                before = self._start_of.pop(start)
                crc = crc32_combine(self._by_start[before][1], crc, stop - start)
                start = before
            self._by_start[start] = stop, crc
            self._start_of[stop] = start

    def whole(self) -> int | None:
        """The CRC-32 of all, None while a piece is missing."""
        stop, crc = self._by_start.get(0, (0, 0))
        return crc if stop == self._size else None

    def complaint(self, claimed: int | None) -> str:
        """What is wrong with what is claimed of all; empty if nothing is known to be."""
        found = self.whole()
        if found is None or claimed is None or claimed == found:
            return ""
        return f"the CRC-32 is {found:08x} where the publisher says {claimed:08x}"
