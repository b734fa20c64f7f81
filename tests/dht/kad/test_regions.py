import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.dht.kad.contacts import Contact, distance
from p2pfs.dht.kad.regions import Regions
from p2pfs.dht.kad.table import K
from tests.dht.kad.nodes import contact

NOW = 1_800_000_000
NODES = [contact(seed) for seed in range(200)]


def truly_closest(key: bytes, count: int) -> list[Contact]:
    return sorted(NODES, key=lambda each: distance(each.node_id, key))[:count]


def near(key: bytes, bits: int, rng: random.Random) -> bytes:
    """A key that shares all but its last bits with another."""
    return (int.from_bytes(key, "big") ^ rng.getrandbits(bits)).to_bytes(20, "big")


@given(st.randoms(use_true_random=False), st.integers(1, 160), st.integers(1, K))
def test_what_is_said_is_what_a_lookup_would_find(
    rng: random.Random, bits: int, count: int
) -> None:
    regions, key = Regions(), rng.randbytes(20)
    for each in (key, rng.randbytes(20)):
        regions.found(each, truly_closest(each, K), NOW)
    other = near(key, bits, rng)
    assert regions.closest(other, count, NOW) in ([], truly_closest(other, count))
    assert regions.closest(key, count, NOW) == truly_closest(key, count)


def test_most_keys_of_a_swept_network_need_no_lookup_of_their_own() -> None:
    regions, rng, lookups = Regions(), random.Random(5), 0
    for _ in range(1_000):
        key = rng.randbytes(20)
        if not regions.closest(key, 8, NOW):
            regions.found(key, truly_closest(key, K), NOW)
            lookups += 1
    assert lookups < 150


def test_a_region_is_forgotten_with_time_and_when_one_of_its_nodes_is_silent() -> None:
    regions, key = Regions(), bytes(20)
    regions.found(key, truly_closest(key, K), NOW)
    assert regions.closest(key, 8, NOW + 3_599)
    assert not regions.closest(key, 8, NOW + 3_600)
    regions.found(key, truly_closest(key, K), NOW)
    regions.forget(truly_closest(key, K)[-1])
    assert not regions.closest(key, 8, NOW)


def test_the_oldest_of_too_many_regions_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pfs.dht.kad.regions._MAX_REGIONS", 3)
    regions, keys = Regions(), [bytes([number << 5]) + bytes(19) for number in range(5)]
    for key in keys:
        regions.found(key, truly_closest(key, K), NOW)
    assert [bool(regions.closest(key, K, NOW)) for key in keys] == [False, False, True, True, True]


def test_a_network_of_fewer_than_k_nodes_is_looked_up_each_time() -> None:
    regions = Regions()
    regions.found(bytes(20), truly_closest(bytes(20), K - 1), NOW)
    assert not regions.closest(bytes(20), 1, NOW)
