from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.library.readahead import AHEAD_BUDGET_BYTES, KIB, MIB, Budget, ReadAhead, window

SIZE = 1 << 40


def ahead_after(reads: list[tuple[int, int]]) -> tuple[int, int]:
    """The last window, after reads at (offset, length) with nothing else open."""
    streams, budget = ReadAhead(), Budget()
    moved = (0, 0)
    for offset, length in reads:
        stream, _ = streams.stream_of(offset, offset + length)
        if stream.position >= stream.next_step:
            granted = budget.grant(stream, stream.wanted_bytes, 0.0)
            moved = window(stream, granted, SIZE)
    return moved


def test_the_beginning_of_a_file_is_read_ahead_at_once() -> None:
    assert ahead_after([(0, 128 * KIB)]) == (128 * KIB, 256 * KIB)


def test_a_lone_read_elsewhere_is_not_followed_by_more() -> None:
    assert ahead_after([(5 * MIB, 64 * KIB)]) == (0, 0)


def test_the_window_grows_with_what_is_read_in_sequence() -> None:
    reads = [(at, 128 * KIB) for at in range(0, 8 * MIB, 128 * KIB)]
    start, stop = ahead_after(reads)
    assert 6 * MIB < start <= 8 * MIB
    assert stop - start == 2 * start
    start, stop = ahead_after([(at, 128 * KIB) for at in range(0, 64 * MIB, 128 * KIB)])
    assert stop - start == 32 * MIB


def test_a_mebibyte_from_the_middle_costs_less_than_three_times_as_much() -> None:
    middle = 500 * MIB
    for asked in (MIB, 2 * MIB):  # the kernel may ask ahead by as much again
        reads = [(middle + at, 128 * KIB) for at in range(0, asked, 128 * KIB)]
        assert ahead_after(reads)[1] - middle <= 4 * MIB


def test_requests_that_overtake_each_other_are_one_stream() -> None:
    steps = [128 * KIB * step for step in range(16)]
    swapped = [steps[at ^ 1] for at in range(16)]
    assert ahead_after([(at, 128 * KIB) for at in swapped])[0] >= 15 * 128 * KIB


def test_streams_of_one_file_are_told_apart_and_the_oldest_is_given_up() -> None:
    streams = ReadAhead()
    first, _ = streams.stream_of(0, KIB)
    for number in range(1, 4):
        _, given_up = streams.stream_of(number * 100 * MIB, number * 100 * MIB + KIB)
        assert given_up is None
    assert streams.stream_of(KIB, 2 * KIB)[0] is first
    _, given_up = streams.stream_of(900 * MIB, 900 * MIB + KIB)
    assert given_up is not None
    assert given_up is not first


def test_the_budget_is_shared_and_an_idle_reader_holds_none() -> None:
    budget = Budget(100)
    assert budget.grant("a", 60, 0.0) == 60
    assert budget.grant("b", 60, 0.0) == 40
    assert budget.grant("c", 60, 0.0) == 0
    assert budget.grant("a", 60, 1.0) == 33
    assert budget.grant("c", 60, 1.0) == 27
    assert budget.grant("c", 60, 20.0) == 60


reads = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 64 * MIB), st.integers(1, MIB)), max_size=40
)


@given(reads)
def test_windows_never_exceed_the_budget_nor_twice_what_was_read(
    requests: list[tuple[int, int, int]],
) -> None:
    budget = Budget()
    files: dict[int, ReadAhead] = {}
    granted: dict[object, int] = {}
    total = 0
    for number, offset, length in requests:
        stream, given_up = files.setdefault(number, ReadAhead()).stream_of(offset, offset + length)
        total += length
        if given_up is not None:
            budget.release(given_up)
            granted.pop(given_up, None)
        if stream.position >= stream.next_step:
            granted[stream] = budget.grant(stream, stream.wanted_bytes, 0.0)
            start, stop = window(stream, granted[stream], SIZE)
            assert stop - start <= 2 * total
    assert sum(granted.values()) <= AHEAD_BUDGET_BYTES
