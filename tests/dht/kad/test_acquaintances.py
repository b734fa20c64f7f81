from __future__ import annotations

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.acquaintances import Acquaintances, Tally

ADDRESS, OTHER = Endpoint("192.0.2.1", 7117), Endpoint("192.0.2.2", 7117)


def test_a_stranger_gets_half_a_second() -> None:
    assert Acquaintances().timeout(ADDRESS) == 0.5


def test_a_fast_peer_gets_the_least_time_and_a_slow_one_more() -> None:
    met = Acquaintances()
    for _ in range(20):
        met.answered(ADDRESS, 0.001)
        met.answered(OTHER, 0.4)
    assert met.timeout(ADDRESS) == 0.25
    assert 0.4 < met.timeout(OTHER) <= 1.5


def test_silence_raises_the_time_out_up_to_its_ceiling() -> None:
    met = Acquaintances()
    for _ in range(10):
        met.kept_silent(ADDRESS, 0.0)
    assert met.timeout(ADDRESS) == 1.5


def test_a_silent_address_is_left_alone_ever_longer_until_it_speaks() -> None:
    met = Acquaintances()
    met.kept_silent(ADDRESS, 0.0)
    assert met.is_silent(ADDRESS, 1.9)
    assert not met.is_silent(ADDRESS, 2.1)
    met.kept_silent(ADDRESS, 10.0)
    assert met.is_silent(ADDRESS, 13.9)
    met.heard(ADDRESS)
    assert not met.is_silent(ADDRESS, 10.1)
    assert met.has_answered(ADDRESS)
    assert not met.has_answered(OTHER)


def test_a_token_is_kept_while_it_is_good() -> None:
    met = Acquaintances()
    met.keep_token(ADDRESS, b"t" * 16, 100.0)
    assert met.token(ADDRESS, 200.0) == b"t" * 16
    assert met.token(ADDRESS, 1000.0) is None
    assert met.token(OTHER, 200.0) is None


def test_the_number_of_addresses_remembered_is_bounded() -> None:
    met = Acquaintances()
    for number in range(10_000):
        met.heard(Endpoint(f"10.0.{number >> 8}.{number & 255}", 7117))
        met.asking(Endpoint(f"10.1.{number >> 8}.{number & 255}", 7117), 0.0)
    assert (len(met._callers), len(met._met)) == (4_096, 4_096)


def _met_many(seconds: float) -> Acquaintances:
    met = Acquaintances()
    for number in range(64):
        met.answered(Endpoint(f"10.0.0.{number}", 7117), seconds)
    return met


def test_where_all_answer_fast_a_stranger_gets_less_and_where_they_do_not_more() -> None:
    assert _met_many(0.05).timeout(ADDRESS) == 0.25
    assert _met_many(0.2).timeout(ADDRESS) == pytest.approx(0.8)


def test_two_that_dawdle_win_no_time_for_those_who_are_dead() -> None:
    met = _met_many(0.05)
    met.answered(OTHER, 1.4)
    met.answered(OTHER, 1.4)
    assert met.timeout(ADDRESS) == 0.25


def test_patience_is_what_an_answer_usually_takes_and_a_token_before_it() -> None:
    met = _met_many(0.15)
    assert met.patience(ADDRESS, 0.0) == pytest.approx(0.3, rel=0.01)
    met.keep_token(ADDRESS, b"t" * 16, 0.0)
    assert met.patience(ADDRESS, 1.0) == 0.2
    assert Acquaintances().patience(ADDRESS, 0.0) == 0.5
    assert _met_many(1.0).patience(ADDRESS, 0.0) == 0.5


def test_only_the_silence_of_those_that_had_answered_counts_in_the_tally() -> None:
    met = Acquaintances()
    met.kept_silent(ADDRESS, 0.0)
    before = met.tally
    assert before.silent_share == 0.0
    met.answered(ADDRESS, 0.1)
    met.answered(ADDRESS, 0.1)
    met.answered(ADDRESS, 0.1)
    met.kept_silent(ADDRESS, 1.0)
    assert met.tally - before == Tally(answers=3, silences=1)
    assert (met.tally - before).silent_share == 0.25


def test_callers_from_ever_new_ports_make_it_forget_none_that_it_asked() -> None:
    met = Acquaintances()
    met.asking(ADDRESS, 0.0)
    met.answered(ADDRESS, 0.1)
    met.heard(OTHER)
    for port in range(10_000, 20_000):
        met.heard(Endpoint("192.0.2.3", port))
    assert met.has_answered(ADDRESS)
    assert met.was_asked(ADDRESS)
    assert not met.has_answered(OTHER)
    assert len(met._met) + len(met._callers) <= 2 * 4_096


def test_a_router_may_let_in_whoever_is_where_something_was_sent_whatever_the_port() -> None:
    met = Acquaintances()
    met.asking(ADDRESS, 0.0)
    met.told(OTHER, 0.0)
    met.heard(Endpoint("192.0.2.3", 7117))  # who asks has not been asked
    assert [met.was_sent_to(f"192.0.2.{number}", 0.0) for number in (1, 2, 3)] == [
        True,
        True,
        False,
    ]
    assert not met.was_asked(OTHER)
    for number in range(10_000):
        met.told(Endpoint(f"10.0.{number >> 8}.{number & 255}", 7117), 0.0)
    assert len(met._sent_to) == 4_096


def test_what_a_router_was_shown_it_forgets_after_a_quarter_of_an_hour() -> None:
    met = Acquaintances()
    met.asking(ADDRESS, 0.0)
    assert met.was_sent_to(ADDRESS.ip, 899.0)
    assert not met.was_sent_to(ADDRESS.ip, 900.0)
    assert met.was_asked(ADDRESS)
    met.told(ADDRESS, 900.0)
    assert met.was_sent_to(ADDRESS.ip, 1_799.0)


def test_a_caller_that_is_asked_keeps_what_is_known_of_it() -> None:
    met = Acquaintances()
    met.keep_token(ADDRESS, b"token", 0.0)
    met.asking(ADDRESS, 0.0)
    assert met.token(ADDRESS, 1.0) == b"token"
    assert met.was_asked(ADDRESS)
