from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content.intervals import Intervals
from p2pfs.dht.overlay import Provider
from p2pfs.peers.errors import PeerUnavailableError
from p2pfs.transfer.plan import Plan
from p2pfs.transfer.standing import MAX_RUN_BYTES, Standing

if TYPE_CHECKING:
    from p2pfs.transfer.run import Run, Span

LEAF = 256 * 1024
SIZE = 400 * LEAF + 77


class File:
    """What a plan is asked about: a file, its peers, and what came."""

    def __init__(self, peers: int = 1, slots: int = 2) -> None:
        self.here = Intervals()
        self.blocked: list[tuple[int, int]] = []
        self.ahead: dict[object, tuple[Span, ...]] = {}
        self.slots = slots
        self.plan = Plan(
            self.blocked,
            self.ahead,
            self.here.gaps,
            self.leaf_at,
            self.free_slots,
            lambda: bytes([99]) * 32,
        )
        for number in range(peers):
            key = bytes([number]) * 32
            self.plan.peers[key] = Standing(Provider(key, (Endpoint("127.0.0.1", 7117),)))

    def leaf_at(self, position: int) -> Span:
        start = position - position % LEAF
        return start, min(start + LEAF, SIZE)

    def free_slots(self, peer: Standing, urgent: bool) -> int:
        kept = 0 if urgent else 1
        return max(0, self.slots - kept - sum(run.peer is peer for run in self.plan.runs))

    def runs(self, now: float = 0.0) -> list[Run]:
        found = []
        while (run := self.plan.next_run(now)) is not None:
            found.append(run)
        return found

    def is_hopeless(self, now: float) -> bool:
        return self.plan.is_hopeless(self.blocked, now)

    def end(self, run: Run, share: float = 1.0) -> None:
        stop = run.start + int((run.stop - run.start) * share) // LEAF * LEAF
        self.here.add(run.start, run.stop if share == 1.0 else stop)
        self.plan.runs.discard(run)


def test_a_reader_comes_before_what_is_read_ahead() -> None:
    file = File()
    file.ahead["reader"] = ((0, 10 * LEAF),)
    file.blocked.append((50 * LEAF + 3, 50 * LEAF + 4))
    run = file.plan.next_run(0.0)
    assert (run.start, run.stop) == (50 * LEAF, 51 * LEAF)


def test_a_known_peer_is_asked_on_into_what_is_read_ahead() -> None:
    file = File()
    (peer,) = file.plan.peers.values()
    peer.completed(8 * LEAF, 0.1, None)
    file.ahead["reader"] = ((LEAF, 100 * LEAF),)
    file.blocked.append((0, LEAF))
    run = file.plan.next_run(0.0)
    assert run.start == 0
    assert run.stop > 2 * LEAF


def test_what_is_wanted_is_shared_between_idle_peers() -> None:
    file = File(peers=3)
    for peer in file.plan.peers.values():
        peer.completed(64 * LEAF, 0.1, None)
    file.ahead["reader"] = ((0, 60 * LEAF),)
    lengths = [run.stop - run.start for run in file.runs()]
    assert lengths[0] == 20 * LEAF
    assert len(lengths) == 3


def test_a_late_run_is_asked_of_another_peer_and_of_no_third() -> None:
    file = File(peers=3)
    file.blocked.append((0, 1))
    (first,) = file.runs(0.0)
    assert not file.runs(0.9)
    assert file.plan.next_event(0.0) == first.late_at
    (second,) = file.runs(first.late_at)
    assert second.peer is not first.peer
    assert not file.runs(first.late_at + 0.1)


def test_progress_keeps_a_run_from_being_late() -> None:
    file = File(peers=2)
    file.blocked.append((0, 1))
    (run,) = file.runs(0.0)
    run.progress_at = 0.9
    assert not file.runs(1.1)


def test_a_failing_peer_gets_a_blocked_reader_only_if_there_is_no_other() -> None:
    file = File(peers=2)
    failing, sound = file.plan.peers.values()
    failing.erred(PeerUnavailableError("gone"), 0.0)
    for number in range(6):
        file.blocked.append((number * 10 * LEAF, number * 10 * LEAF + 1))
    assert {run.peer for run in file.runs(9.0)} == {sound}
    del file.plan.peers[sound.key]
    file.plan.runs.clear()
    assert {run.peer for run in file.runs(9.0)} == {failing}


def test_there_is_no_hope_when_every_peer_has_failed_often() -> None:
    file = File()
    (peer,) = file.plan.peers.values()
    now = 0.0
    for _ in range(3):
        assert not file.is_hopeless(now)
        now = max(now, peer.retry_at)
        peer.erred(PeerUnavailableError("gone"), now)
    assert file.is_hopeless(now)
    assert not file.is_hopeless(peer.retry_at)


spans = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 20 * LEAF)).map(
    lambda pair: (pair[0], min(SIZE, pair[0] + pair[1]))
)


@settings(max_examples=60, deadline=None)
@given(
    blocked=st.lists(spans, max_size=3),
    ahead=st.lists(spans, max_size=3),
    peers=st.integers(1, 4),
    shares=st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=30),
)
def test_all_that_is_wanted_comes_and_nothing_is_asked_twice_at_once(
    blocked: list[Span], ahead: list[Span], peers: int, shares: list[float]
) -> None:
    file = File(peers)
    file.blocked += blocked
    file.ahead["reader"] = tuple(ahead)
    outcomes = iter(shares)
    wanted = Intervals(
        file.leaf_at(start)[:1] + file.leaf_at(stop - 1)[1:] for start, stop in file.plan.wanted()
    )
    for _ in range(2_000):
        file.runs()
        if not file.plan.runs:
            break
        under_way = Intervals()
        for run in file.plan.runs:
            assert run.stop - run.start <= MAX_RUN_BYTES + 2 * LEAF
            assert not under_way.overlaps(run.start, run.stop)
            assert wanted.covers(run.start, run.stop)
            under_way.add(run.start, run.stop)
        file.end(min(file.plan.runs, key=lambda run: run.start), next(outcomes, 1.0))
    assert all(file.here.covers(*span) for span in file.plan.wanted())


def partial(file: File, number: int, *held: Span) -> Standing:
    """A peer of the file that has said it has these parts."""
    peer = list(file.plan.peers.values())[number]
    peer.holds = Intervals(held)
    return peer


@given(
    held=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 40)), min_size=1, max_size=5),
    blocked=st.integers(0, 390),
    ahead=st.integers(0, 300),
)
def test_nobody_is_asked_for_what_it_has_not(
    held: list[tuple[int, int]], blocked: int, ahead: int
) -> None:
    file = File(peers=3, slots=3)
    spans = [(start * LEAF, min(start + count, 400) * LEAF) for start, count in held]
    peer = partial(file, 0, *spans)
    file.blocked.append((blocked * LEAF, (blocked + 4) * LEAF))
    file.ahead["reader"] = ((ahead * LEAF, (ahead + 100) * LEAF),)
    for run in file.runs():
        if run.peer is peer:
            assert Intervals(spans).covers(run.start, run.stop)


def test_a_reader_gets_from_those_with_parts_before_those_with_all() -> None:
    file = File(peers=2)
    peer = partial(file, 1, (0, 10 * LEAF))
    file.blocked.append((0, LEAF))
    assert file.runs()[0].peer is peer


def test_a_reader_gets_what_only_one_has_from_that_one() -> None:
    file = File(peers=2)
    partial(file, 1, (10 * LEAF, 20 * LEAF))
    file.blocked.append((0, LEAF))
    (run,) = file.runs()
    assert run.peer.holds is None


def fellow_reader(held: Span, *, slots: int = 2) -> tuple[File, Standing, Standing]:
    """A file, who has all of it, and one who has just got a part of it."""
    file = File(peers=2, slots=slots)
    whole, fellow = file.plan.peers.values()
    fellow.told(Intervals([held]), SIZE, 0.0)
    return file, whole, fellow


def test_what_falls_to_another_reader_is_not_read_ahead_from_the_one_with_all() -> None:
    file, whole, _ = fellow_reader((0, LEAF), slots=60)
    file.ahead["reader"] = ((LEAF, 129 * LEAF),)
    asked = Intervals((run.start, run.stop) for run in file.runs() if run.peer is whole)
    assert 24 * LEAF < asked.total() < 104 * LEAF
    ours = Intervals(file.plan._swarm.ours([(LEAF, 129 * LEAF)], (0, 129 * LEAF), 0.0))
    assert asked == ours


def test_a_blocked_reader_leaves_a_part_to_another_for_half_a_second_at_most() -> None:
    file, whole, _ = fellow_reader((0, LEAF))
    window = file.ahead["reader"] = ((LEAF, 129 * LEAF),)
    ours = Intervals(file.plan._swarm.ours(window, window[0], 0.0))
    theirs = ours.gaps(*window[0])[0][0]
    file.ahead.clear()
    file.blocked.append((theirs, theirs + LEAF))
    assert not file.runs(0.0)
    assert file.plan.next_event(0.0) <= 0.5
    assert not file.runs(0.4)
    (run,) = file.runs(0.5)
    assert run.peer is whole
    assert run.start == theirs


def test_a_part_is_left_to_another_for_longer_where_the_one_with_all_is_slow() -> None:
    file, whole, _ = fellow_reader((0, LEAF))
    whole.completed(4 * LEAF, 2.0, None)
    window = (LEAF, 129 * LEAF)
    theirs = Intervals(file.plan._swarm.ours([window], window, 0.0)).gaps(*window)[0][0]
    file.blocked.append((theirs, theirs + LEAF))
    assert not file.runs(0.0)
    assert not file.runs(1.9)
    assert [run.start for run in file.runs(2.0)] == [theirs]


def test_a_part_that_another_is_just_getting_is_read_ahead_when_it_has_all_of_it() -> None:
    file, _, fellow = fellow_reader((0, 2 * LEAF), slots=60)
    file.ahead["reader"] = ((0, 4 * LEAF),)
    assert all(run.peer is not fellow for run in file.runs())
    fellow.told(Intervals([(0, 4 * LEAF)]), SIZE, 0.1)
    assert [(run.peer, run.start, run.stop) for run in file.runs(0.1)] == [(fellow, 0, 4 * LEAF)]


def test_a_blocked_reader_takes_what_is_there_of_a_part() -> None:
    file, _, fellow = fellow_reader((0, 2 * LEAF))
    file.blocked.append((0, 1))
    assert file.runs()[0].peer is fellow


def test_parts_of_one_who_gets_no_more_are_read_ahead_as_they_are() -> None:
    file, _, fellow = fellow_reader((LEAF, 2 * LEAF))
    file.ahead["reader"] = ((0, 4 * LEAF),)
    found = {run.peer: (run.start, run.stop) for run in file.runs(60.0)}
    assert found[fellow] == (LEAF, 2 * LEAF)


def test_the_one_with_all_is_asked_for_what_no_other_has() -> None:
    file = File(peers=2, slots=2)
    peer = partial(file, 1, (0, 90 * LEAF))
    file.ahead["reader"] = ((0, 100 * LEAF),)
    whole = [run for run in file.runs() if run.peer is not peer]
    assert whole
    assert all(run.start >= 90 * LEAF for run in whole)


def test_there_is_no_hope_in_peers_that_have_only_other_parts() -> None:
    file = File(peers=1)
    peer = partial(file, 0, (10 * LEAF, 20 * LEAF))
    peer.asked(0.0)
    peer.told(Intervals([(10 * LEAF, 20 * LEAF)]), SIZE, 0.0)
    file.blocked.append((0, LEAF))
    assert not file.runs()
    assert file.is_hopeless(0.0)
    assert file.plan.to_ask(5.0) == [peer]
