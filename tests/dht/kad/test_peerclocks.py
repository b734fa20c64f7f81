from __future__ import annotations

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.peerclocks import PeerClocks


def far(_: str) -> bool:
    return False


def voices(*spoken: tuple[str, float]) -> PeerClocks:
    clocks = PeerClocks(far)
    for ip, difference in spoken:
        clocks.says(Endpoint(ip, 7117), difference)
    return clocks


def test_the_median_of_three_networks_counts() -> None:
    assert voices(("8.8.0.1", 700), ("9.9.0.1", 650), ("7.7.0.1", -1e9)).difference() == 650


def test_two_networks_are_too_few_however_many_speak_there() -> None:
    assert voices(*((f"8.8.0.{number}", 900.0) for number in range(50))).difference() == 0
    assert voices(("8.8.0.1", 900), ("9.9.0.1", 900)).difference() == 0


def test_a_network_has_the_voice_of_whoever_spoke_last() -> None:
    spoken = ("8.8.0.1", 900), ("9.9.0.1", 900), ("7.7.0.1", 900), ("8.8.9.9", 0), ("9.9.9.9", 0)
    assert voices(*spoken).difference() == 0


def test_addresses_nearby_have_a_voice_each() -> None:
    clocks = PeerClocks(lambda _: True)
    for number in range(3):
        clocks.says(Endpoint(f"192.168.0.{number}", 7117), 900)
    assert clocks.difference() == 900
    clocks.forget()
    assert clocks.difference() == 0


def test_old_voices_are_forgotten() -> None:
    clocks = voices(*((f"8.{number}.0.1", 900.0) for number in range(100)))
    for number in range(64):
        clocks.says(Endpoint(f"9.{number}.0.1", 7117), 0)
    assert clocks.difference() == 0
