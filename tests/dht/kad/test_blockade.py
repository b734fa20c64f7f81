from __future__ import annotations

from p2pfs.dht.kad.blockade import Blockade


def test_until_the_first_datagram_is_answered_there_may_be_one() -> None:
    blockade = Blockade()
    blockade.sent(0)
    assert blockade.is_likely
    assert not blockade.answered()
    assert not blockade.is_likely


def test_silence_for_three_seconds_is_a_reason_to_look_and_no_more() -> None:
    blockade = Blockade()
    blockade.answered()
    blockade.sent(10)
    blockade.sent(12)
    assert not blockade.is_due(12.5)
    assert blockade.is_due(13)
    assert not blockade.is_likely
    blockade.looked()
    assert blockade.is_likely
    assert not blockade.is_due(20)


def test_whoever_answers_when_it_is_looked_for_ends_the_suspicion() -> None:
    blockade = Blockade()
    blockade.answered()
    blockade.sent(10)
    blockade.answered()
    blockade.looked()
    assert not blockade.is_likely
    assert not blockade.is_due(20)


def test_who_sends_nothing_hears_nothing() -> None:
    blockade = Blockade()
    blockade.answered()
    assert not blockade.is_due(1_000)


def test_it_is_certain_when_https_is_answered_and_ends_with_the_first_datagram_that_is() -> None:
    blockade = Blockade()
    assert blockade.bypassed()
    assert blockade.is_certain
    assert not blockade.bypassed()
    assert blockade.answered()
    assert not blockade.is_certain
    assert not blockade.answered()


def test_https_that_is_answered_while_datagrams_are_says_nothing() -> None:
    blockade = Blockade()
    blockade.answered()
    blockade.sent(10)
    assert not blockade.bypassed()
    assert not blockade.is_certain
