from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.peers.limits import Bucket, InFlight, Rate


def test_so_many_are_in_flight_and_no_more_until_one_leaves() -> None:
    in_flight = InFlight(2)
    assert [in_flight.enter("a") for _ in range(3)] == [True, True, False]
    assert in_flight.enter("b")
    in_flight.leave("a")
    assert in_flight.enter("a")


def test_after_a_burst_the_rate_holds() -> None:
    rate = Rate(10)
    assert sum(rate.take("a", 0.0) for _ in range(50)) == 10
    assert sum(rate.take("a", 0.5) for _ in range(50)) == 5
    assert rate.take("b", 0.5)


@given(st.lists(st.floats(0, 100), max_size=200))
def test_a_rate_is_never_exceeded(times: list[float]) -> None:
    rate = Rate(10)
    times = sorted(times)
    taken = [now for now in times if rate.take("a", now)]
    for index, start in enumerate(taken):
        assert sum(now < start + 1 for now in taken[index:]) <= 20  # a burst and a second's worth


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 100_000)), min_size=1, max_size=50))
def test_what_waits_for_a_bucket_never_exceeds_its_rate(takes: list[tuple[float, int]]) -> None:
    bucket, rate, now, sent = Bucket(50_000), 50_000, 0.0, 0
    for pause, count in takes:
        now += pause
        now += bucket.take(count, now)
        sent += count
        assert sent <= rate * (now + 0.1) + 1


def test_a_bucket_gives_all_of_its_rate_to_who_keeps_taking() -> None:
    bucket, now = Bucket(1_000), 0.0
    for _ in range(100):
        now += bucket.take(100, now) + 0.01  # wakes late every time
    assert now < 10.2


def test_what_is_owed_is_paid_by_time() -> None:
    bucket = Bucket(1_000)
    bucket.take(500, 0.0)
    assert bucket.wait(0.0) == 0.5
    assert bucket.wait(0.25) == 0.25
    assert bucket.wait(9.0) == 0
