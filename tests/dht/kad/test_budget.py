from __future__ import annotations

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.budget import FirstContacts, RateLimit
from p2pfs.dht.kad.lookup import MAX_ASKED


def test_a_burst_is_allowed_and_then_so_many_a_second() -> None:
    rate = RateLimit(per_second=2, burst=3)
    assert [rate.allows("a", 10.0) for _ in range(4)] == [True, True, True, False]
    assert rate.allows("b", 10.0)
    assert [rate.allows("a", 11.0) for _ in range(3)] == [True, True, False]


def test_a_pause_saves_up_no_more_than_a_burst() -> None:
    rate = RateLimit(per_second=1, burst=2)
    assert rate.allows("a", 0.0)
    assert [rate.allows("a", 1e6) for _ in range(3)] == [True, True, False]


def test_an_ipv6_network_has_one_budget_whatever_address_it_asks_from() -> None:
    rate = RateLimit(per_second=1, burst=2)
    assert [rate.allows(f"2a00:0:0:ff:1::{n}", 0.0) for n in range(1, 4)] == [True, True, False]
    assert not rate.allows("2a00::1", 0.0)
    assert rate.allows("2a00:0:0:100::1", 0.0)


def test_what_is_remembered_of_sources_is_bounded() -> None:
    rate, first = RateLimit(1, 1), FirstContacts()
    for number in range(20_000):
        rate.allows(str(number), 0.0)
        first.allows(Endpoint(str(number), 7117), 0.0)
    assert len(rate._left) <= 4_096
    assert len(first._sent) <= 16_384


def test_who_has_all_of_his_burst_again_is_forgotten() -> None:
    rate = RateLimit(per_second=1, burst=2)
    for number in range(100):
        assert rate.allows(str(number), float(number))
    assert len(rate._left) <= 2


def test_a_silent_address_gets_three_datagrams_in_five_minutes() -> None:
    first, silent = FirstContacts(), Endpoint("9.9.9.9", 7117)
    assert [first.allows(silent, at) for at in (0.0, 1.0, 2.0, 299.0)] == [True, True, True, False]
    assert first.allows(silent, 300.5)
    assert not first.allows(silent, 300.6)


def test_a_hundred_lookups_among_the_dead_do_not_bring_a_silent_address_more() -> None:
    first, silent = FirstContacts(), Endpoint("9.9.9.9", 7117)
    assert all(first.allows(silent, 0.0) for _ in range(3))
    for number in range(100 * MAX_ASKED):
        first.allows(Endpoint(str(number), 7117), 1.0)
    assert not first.allows(silent, 2.0)
