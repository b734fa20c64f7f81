from __future__ import annotations

from p2pfs.dht.kad.blockade import Blockade


def test_until_the_first_datagram_is_answered_there_may_be_one() -> None:
    blockade = Blockade()
    blockade.sent(0)
    assert blockade.is_possible(0.5)
    assert not blockade.answered()
    assert not blockade.is_possible(1)


def test_one_lost_datagram_is_none_and_silence_for_three_seconds_may_be() -> None:
    blockade = Blockade()
    blockade.answered()
    blockade.sent(10)
    assert not blockade.is_possible(12)
    blockade.sent(12.5)
    assert blockade.is_possible(13)


def test_who_sends_nothing_hears_nothing() -> None:
    blockade = Blockade()
    blockade.answered()
    assert not blockade.is_possible(1_000)


def test_it_is_certain_when_https_is_answered_and_ends_with_the_first_datagram_that_is() -> None:
    blockade = Blockade()
    assert blockade.bypassed(1)
    assert blockade.is_certain
    assert not blockade.bypassed(2)
    assert blockade.answered()
    assert not blockade.is_certain
    assert not blockade.answered()


def test_https_that_is_answered_while_datagrams_are_says_nothing() -> None:
    blockade = Blockade()
    blockade.answered()
    blockade.sent(10)
    assert not blockade.bypassed(11)
    assert not blockade.is_certain
