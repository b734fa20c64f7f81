from __future__ import annotations

from p2pfs.addresses import Endpoint
from p2pfs.peers import ledger as ledger_module
from p2pfs.peers.ledger import Ledger, PeerStats

KEY = b"k" * 32
HERE = Endpoint("127.0.0.1", 7117)


def test_a_stranger_has_no_history_and_two_connections() -> None:
    assert Ledger().stats(KEY) == PeerStats()
    assert PeerStats().connections == 2


def test_a_far_peer_gets_four_connections() -> None:
    ledger = Ledger()
    ledger.connected(KEY, HERE, 0.050)
    assert ledger.stats(KEY).connections == 4


def test_the_shortest_round_trip_counts() -> None:
    ledger = Ledger()
    for rtt in (0.05, 0.004, 0.2):
        ledger.connected(KEY, HERE, rtt)
    assert ledger.stats(KEY).rtt == 0.004


def test_a_rate_follows_the_answers_and_small_ones_say_nothing() -> None:
    ledger = Ledger()
    ledger.received(KEY, 100, 0.001)
    assert ledger.stats(KEY).rate is None
    ledger.received(KEY, 1_000_000, 0.1)
    assert ledger.stats(KEY).rate == 10_000_000
    ledger.received(KEY, 1_000_000, 1)
    assert 1_000_000 < (ledger.stats(KEY).rate or 0) < 10_000_000


def test_bytes_failures_and_lies_are_counted() -> None:
    ledger = Ledger()
    ledger.verified(KEY, 5)
    ledger.verified(KEY, 6)
    ledger.failed(KEY)
    ledger.lied(KEY)
    assert ledger.all() == {KEY: PeerStats(fetched=11, failures=1, wrong=1)}


def test_only_so_many_peers_are_remembered() -> None:
    ledger = Ledger()
    for number in range(ledger_module._REMEMBERED_PEERS + 10):
        ledger.failed(number.to_bytes(32, "big"))
    assert len(ledger.all()) == ledger_module._REMEMBERED_PEERS
