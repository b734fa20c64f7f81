from __future__ import annotations

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.observed import Observed

TRUE, FALSE = Endpoint("8.8.8.8", 7117), Endpoint("9.9.9.9", 7117)


def test_many_voices_of_one_network_are_one() -> None:
    observed = Observed(lambda _: False)
    for number in range(10):
        observed.says(b"liar %d" % number, Endpoint(f"5.5.5.{number}", 7117), FALSE)
    for number in range(2):
        observed.says(b"honest %d" % number, Endpoint(f"{20 + number}.1.1.1", 7117), TRUE)
    assert observed.addresses() == (TRUE, FALSE)


def test_a_peer_can_change_its_mind() -> None:
    observed = Observed(lambda _: True)
    speaker = Endpoint("127.0.0.1", 7117)
    observed.says(b"peer", speaker, FALSE)
    observed.says(b"peer", speaker, TRUE)
    assert observed.addresses() == (TRUE,)


def test_the_voices_are_bounded() -> None:
    observed = Observed(lambda _: True)
    for number in range(1_000):
        observed.says(
            b"%d" % number, Endpoint("127.0.0.1", 7117), Endpoint("8.8.8.8", 2000 + number)
        )
    assert len(observed.addresses()) <= 64


def test_a_lone_liar_adds_no_address_to_what_many_say() -> None:
    observed = Observed(lambda ip: ip.startswith("192.168."))
    lan, v6 = Endpoint("192.168.1.2", 7117), Endpoint("2600::1", 7117)
    for number in range(3):
        observed.says(b"honest %d" % number, Endpoint(f"{20 + number}.1.1.1", 7117), TRUE)
    observed.says(b"neighbour", Endpoint("192.168.1.9", 7117), lan)
    observed.says(b"six", Endpoint("2a00::1", 7117), v6)
    observed.says(b"liar", Endpoint("5.5.5.5", 7117), FALSE)
    assert set(observed.addresses()) == {TRUE, lan, v6}


def test_voices_of_a_lan_that_was_left_are_no_rivals_of_a_public_address() -> None:
    lans = ["192.168."]
    observed = Observed(lambda ip: ip.startswith(tuple(lans)))
    lan = Endpoint("192.168.1.2", 7117)
    for number in range(6):
        observed.says(b"neighbour %d" % number, Endpoint(f"192.168.1.{9 + number}", 7117), lan)
    lans[:] = ["10."]
    observed.says(b"far", Endpoint("20.1.1.1", 7117), TRUE)
    assert set(observed.addresses()) == {TRUE, lan}


def test_what_nobody_says_any_more_is_forgotten() -> None:
    observed = Observed(lambda _: False)
    for number in range(64):
        observed.says(b"old %d" % number, Endpoint(f"{20 + number}.1.1.1", 7117), FALSE)
    for number in range(64):
        observed.says(b"new %d" % number, Endpoint(f"{20 + number}.1.1.1", 7117), TRUE)
    assert observed.addresses() == (TRUE,)


def test_who_says_the_same_again_is_the_last_that_spoke_and_changes_nothing() -> None:
    observed = Observed(lambda _: False)
    observed.says(b"faithful", Endpoint("20.1.1.1", 7117), TRUE)
    for number in range(100):
        observed.says(b"other %d" % number, Endpoint("5.5.5.5", 7117), FALSE)
        before = observed.addresses()
        observed.says(b"faithful", Endpoint("20.1.1.1", 7117), TRUE)
        assert observed.addresses() is before
    assert TRUE in observed.addresses()
