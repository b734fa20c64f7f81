"""A set of integers kept as disjoint half-open intervals: which bytes of a file are here.

What the integers mean, and whether they are true, is the business of whoever keeps the set.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from p2pfs.content.varint import MAX_INTEGER, encode_varint, read_varint
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Intervals:
    """Sorted, disjoint, never touching `[start, stop)`; an empty interval adds nothing.

    Questions cost O(log n + answer); a change moves what lies behind it (a memmove).
    """

    __slots__ = ("_starts", "_stops")

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in intervals:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        if start >= stop:
            return
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def remove(self, start: int, stop: int) -> None:
        if start >= stop:
            return
        first, last = self._touched(start, stop)
        if first >= last:
            return
        kept = []
        if self._starts[first] < start:
            kept.append((self._starts[first], start))
        if stop < self._stops[last - 1]:
            kept.append((stop, self._stops[last - 1]))
        self._starts[first:last] = [begin for begin, _ in kept]
        self._stops[first:last] = [end for _, end in kept]

    def covers(self, start: int, stop: int) -> bool:
        """Whether all of `[start, stop)` is in the set; an empty interval always is."""
        if start >= stop:
            return True
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and stop <= self._stops[index]

    def overlaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of `[start, stop)` that are in the set, in order."""
        if start >= stop:
            return []
        first, last = self._touched(start, stop)
        found = list(zip(self._starts[first:last], self._stops[first:last], strict=True))
        if found:
            found[0] = max(found[0][0], start), found[0][1]
            found[-1] = found[-1][0], min(found[-1][1], stop)
        return found

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of `[start, stop)` that are not in the set, in order."""
        missing = []
        for begin, end in self.overlaps(start, stop):
            if start < begin:
                missing.append((start, begin))
            start = end
        if start < stop:
            missing.append((start, stop))
        return missing

    def total(self) -> int:
        """How many integers are in the set."""
        return sum(self._stops) - sum(self._starts)

    def copy(self) -> Intervals:
        twin = Intervals()
        twin._starts = self._starts.copy()
        twin._stops = self._stops.copy()
        return twin

    def encode(self) -> bytes:
        """Varints: the gap before each interval and its length, in turn."""
        encoded = bytearray()
        at = 0
        for start, stop in self:
            encoded += encode_varint(start - at) + encode_varint(stop - start)
            at = stop
        return bytes(encoded)

    @classmethod
    def decode(cls, encoded: bytes) -> Intervals:
        """What `encode` made, and nothing else; raises MalformedError."""
        decoded = cls()
        at = position = 0
        while position < len(encoded):
            gap, position = read_varint(encoded, position, len(encoded))
            length, position = read_varint(encoded, position, len(encoded))
            start, at = at + gap, at + gap + length
            if length == 0 or (gap == 0 and decoded) or at > MAX_INTEGER:
                raise MalformedError("intervals that are empty, touch, or lie too far")
            decoded._starts.append(start)
            decoded._stops.append(at)
        return decoded

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Intervals):
            return NotImplemented
        return self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Intervals({list(self)})"

    def _touched(self, start: int, stop: int) -> tuple[int, int]:
        """The indices, half-open, of the intervals that share an integer with `[start, stop)`."""
        return bisect_right(self._stops, start), bisect_left(self._starts, stop)
