from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pfs.content.intervals import Intervals
from p2pfs.content.varint import MAX_INTEGER
from p2pfs.errors import MalformedError

_END = 40
_POINTS = st.integers(0, _END)


class AgainstASet(RuleBasedStateMachine):
    """Whatever is done to intervals, they are the set of integers that Python's own would be."""

    def __init__(self) -> None:
        super().__init__()
        self.intervals = Intervals()
        self.model: set[int] = set()

    @rule(start=_POINTS, stop=_POINTS)
    def add(self, start: int, stop: int) -> None:
        self.intervals.add(start, stop)
        self.model |= set(range(start, stop))

    @rule(start=_POINTS, stop=_POINTS)
    def remove(self, start: int, stop: int) -> None:
        self.intervals.remove(start, stop)
        self.model -= set(range(start, stop))

    @rule(start=_POINTS, stop=_POINTS)
    def ask(self, start: int, stop: int) -> None:
        span = set(range(start, stop))
        assert self.intervals.covers(start, stop) == (span <= self.model)
        assert _members(self.intervals.overlaps(start, stop)) == span & self.model
        assert _members(self.intervals.gaps(start, stop)) == span - self.model

    @rule()
    def keep_and_copy(self) -> None:
        twin = self.intervals.copy()
        assert Intervals.decode(twin.encode()) == self.intervals
        twin.add(0, _END)
        assert _members(self.intervals) == self.model

    @invariant()
    def sorted_and_apart(self) -> None:
        rows = list(self.intervals)
        assert all(start < stop for start, stop in rows)
        assert all(one[1] < other[0] for one, other in pairwise(rows))
        assert _members(rows) == self.model
        assert self.intervals.total() == len(self.model)
        assert bool(self.intervals) == bool(self.model)


TestAgainstASet = AgainstASet.TestCase


def _members(intervals: object) -> set[int]:
    members: set[int] = set()
    for start, stop in intervals:  # type: ignore[attr-defined]
        assert members.isdisjoint(range(start, stop))
        members |= set(range(start, stop))
    return members


@given(st.binary(max_size=40))
def test_any_bytes_are_intervals_or_malformed(raw: bytes) -> None:
    with contextlib.suppress(MalformedError):
        decoded = Intervals.decode(raw)
        assert Intervals(decoded) == decoded
        assert all(stop <= MAX_INTEGER for _, stop in decoded)


@pytest.mark.parametrize("raw", ["00", "0500", "00010001", "00" + "ff" * 8 + "7f0101"])
def test_what_encode_never_writes_is_refused(raw: str) -> None:
    with pytest.raises(MalformedError):
        Intervals.decode(bytes.fromhex(raw))


def test_a_hundred_thousand_intervals_are_no_burden() -> None:
    many = Intervals((2 * index, 2 * index + 1) for index in range(100_000))
    assert len(many.encode()) < 400_000
    assert many.gaps(100_000, 100_004) == [(100_001, 100_002), (100_003, 100_004)]
    many.add(0, 200_000)
    assert list(many) == [(0, 200_000)]
