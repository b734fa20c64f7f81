from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content.intervals import Intervals
from p2pfs.dht.overlay import Provider
from p2pfs.errors import NoSpaceError
from p2pfs.peers.errors import (
    PeerBusyError,
    PeerLacksError,
    PeerSilentError,
    PeerUnavailableError,
    WrongBlockError,
)
from p2pfs.transfer.standing import MAX_RUN_BYTES, MIB, MIN_RUN_BYTES, Standing


def standing(**known: float) -> Standing:
    return Standing(Provider(b"k" * 32, (Endpoint("127.0.0.1", 7117),)), **known)


def test_runs_grow_until_they_take_their_time() -> None:
    peer = standing()
    rate, rtt = 40 * MIB, 0.05
    for _ in range(10):
        peer.completed(peer.run_bytes, rtt + peer.run_bytes / rate, rtt)
    assert 5 * MIB < peer.run_bytes < 7 * MIB  # 0.1 s and one of the two round trips at 40 MiB/s


def test_a_slow_peer_is_asked_for_a_leaf_at_a_time() -> None:
    peer = standing()
    for _ in range(4):
        peer.completed(peer.run_bytes, peer.run_bytes / MIB, None)
    assert peer.run_bytes == MIN_RUN_BYTES


def test_a_short_quick_run_does_not_shorten_the_next() -> None:
    peer = standing(rate=80.0 * MIB)
    peer.completed(MIN_RUN_BYTES, 0.06, 0.05)
    assert peer.run_bytes == 8 * MIB


def test_a_peer_that_fails_is_left_alone_longer_each_time() -> None:
    peer = standing()
    waits = []
    for _ in range(8):
        assert peer.erred(PeerSilentError("nothing"), 0.0)
        waits.append(peer.retry_at)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert peer.request_limit(4) == 1
    peer.landed(1)
    assert peer.request_limit(4) == 4


def test_a_peer_that_lies_is_not_asked_again() -> None:
    peer = standing()
    assert peer.erred(WrongBlockError("wrong"), 0.0)
    assert not peer.is_usable(1e9)
    assert not peer.is_hopeful(1e9)


def test_a_peer_that_lacks_something_is_asked_what_it_has() -> None:
    peer = standing()
    assert peer.has(5)
    assert peer.asks_at() == inf
    assert peer.erred(PeerLacksError("not here"), 0.0)
    assert not peer.has(5)
    assert peer.may_have([(0, 1)])  # it has not said yet
    peer.asked(peer.asks_at())
    peer.told(Intervals([(0, 4), (8, 12)]), 20, 0.0)
    assert peer.has(3)
    assert peer.held_until(8) == 12
    assert not peer.may_have([(4, 8)])
    assert peer.asks_at() < inf


def test_a_peer_that_has_all_by_now_is_as_any_other() -> None:
    peer = standing()
    peer.erred(PeerLacksError("not here"), 0.0)
    peer.asked(0.0)
    peer.told(Intervals([(0, 20)]), 20, 0.0)
    assert peer.has(19)
    assert peer.asks_at() == inf


def test_a_peer_that_has_nothing_is_no_hope_and_asked_again_less_and_less() -> None:
    peer, asked = standing(), []
    peer.erred(PeerLacksError("not here"), 0.0)
    for _ in range(6):
        now = peer.asks_at()
        asked.append(round(now, 1))
        peer.asked(now)
        peer.told(Intervals(), 20, now)
        assert not peer.is_hopeful(1e9)
        assert peer.is_empty
    assert asked == [0.1, 0.6, 1.1, 1.9, 3.5, 6.7]
    peer.told(Intervals([(0, 5)]), 20, 8.0)
    assert peer.is_hopeful(8.0)
    assert peer.has(3)


def test_a_peer_that_has_not_what_it_says_is_asked_less_and_less() -> None:
    peer, waits = standing(), []
    for _ in range(5):
        peer.erred(PeerLacksError("not here"), 0.0)
        waits.append(peer.retry_at)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6]


def test_a_busy_peer_has_not_failed() -> None:
    peer = standing()
    assert peer.erred(PeerBusyError("busy", 3.0), 10.0)
    assert not peer.is_usable(12.9)
    assert peer.is_usable(13.0)
    assert peer.is_hopeful(10.0)


def test_what_is_this_nodes_own_fault_is_not_held_against_a_peer() -> None:
    peer = standing()
    assert not peer.erred(NoSpaceError("full"), 0.0)
    assert peer.last_error is None


def test_patience_follows_the_usual_delay() -> None:
    peer = standing()
    assert peer.patience == 1.0
    for _ in range(50):
        peer.answered(0.01)
    assert peer.patience == 0.5
    for _ in range(50):
        peer.answered(1.0)
    assert 1.0 < peer.patience < 1.5


@given(
    st.lists(st.tuples(st.integers(1, 32 * MIB), st.floats(0, 1e4), st.floats(0, 5)), max_size=20)
)
def test_a_run_is_never_tiny_nor_huge(runs: list[tuple[int, float, float]]) -> None:
    peer = standing()
    for size, seconds, rtt in runs:
        peer.completed(size, seconds, rtt)
        assert MIN_RUN_BYTES <= peer.run_bytes <= MAX_RUN_BYTES


def test_an_unavailable_peer_is_hopeful_until_it_failed_thrice() -> None:
    peer = standing()
    for hope in (True, True, False):
        peer.erred(PeerUnavailableError("gone"), 0.0)
        assert peer.is_hopeful(0.0) is hope


def test_a_peer_reads_where_it_has_got_something_lately() -> None:
    peer = standing()
    peer.erred(PeerLacksError("not here"), 0.0)
    assert not peer.is_reading((0, 100), 0.0)
    peer.told(Intervals([(0, 10)]), 100, 1.0)
    assert peer.is_reading((5, 20), 2.0)
    peer.told(Intervals([(0, 10), (50, 60)]), 100, 2.0)
    assert not peer.is_reading((5, 20), 2.5)
    assert peer.is_reading((40, 90), 2.5)
    peer.told(Intervals([(0, 10), (50, 60)]), 100, 9.0)
    assert not peer.is_reading((40, 90), 9.0)  # it has stopped


def test_a_peer_that_has_just_told_is_not_asked_at_once() -> None:
    peer = standing()
    peer.erred(PeerLacksError("not here"), 0.0)
    peer.asked(0.1)
    peer.told(Intervals([(0, 10)]), 20, 3.0)
    assert peer.asks_at() == 3.5
