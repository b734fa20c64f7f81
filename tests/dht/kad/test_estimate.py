from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.dht.kad.contacts import Contact, distance
from p2pfs.dht.kad.estimate import SizeEstimate, blinded, probes
from p2pfs.dht.kad.table import K
from tests.dht.kad.nodes import contact

NODES = [contact(seed) for seed in range(1_000)]
KEYS = st.binary(min_size=20, max_size=20)
REACHES = st.integers(1, 2**160 - 1)


def closest(key: bytes, nodes: list[Contact] = NODES) -> list[Contact]:
    return sorted(nodes, key=lambda each: distance(each.node_id, key))[:K]


def learned(lookups: int = 64) -> SizeEstimate:
    estimate, rng = SizeEstimate(), random.Random(3)
    for _ in range(lookups):
        key = rng.randbytes(20)
        estimate.found(key, closest(key), K)
    return estimate


def ground(key: bytes, count: int) -> list[Contact]:
    """Ids that share 24 bits with a key."""
    rng = random.Random(4)
    return [
        Contact(
            number.to_bytes(32, "big"), key[:3] + rng.randbytes(17), contact(number).endpoint, 1
        )
        for number in range(count)
    ]


def test_the_median_of_lookups_says_how_far_the_kth_node_is() -> None:
    reach = learned().reach
    assert reach is not None
    assert 0.8 < reach / (2**160 * K / len(NODES)) < 1.25


def test_it_knows_nothing_before_the_first_lookup_and_among_fewer_than_k_nodes() -> None:
    estimate = SizeEstimate()
    assert estimate.reach is None
    estimate.found(bytes(20), NODES[: K - 1], K)
    assert estimate.reach is None
    assert estimate.is_close(bytes(20), b"\xff" * 20)


def test_lookups_that_found_nobody_change_nothing() -> None:
    estimate = learned()
    before = estimate.reach
    for _ in range(100):  # the line is down, and somebody goes on looking
        estimate.found(bytes(20), [], K)
    assert estimate.reach == before
    assert not estimate.is_close(bytes(20), b"\xff" * 20)


def test_visits_that_found_fewer_than_they_waited_for_change_nothing() -> None:
    """Else one that met a single node would pass for a look around a network of one."""
    estimate = learned()
    before = estimate.reach
    for _ in range(100):
        estimate.found(bytes(20), NODES[:1], 2)
    assert estimate.reach == before


def test_only_the_last_64_lookups_count() -> None:
    estimate = learned()
    for _ in range(64):
        estimate.found(bytes(20), NODES[: K - 1], K)
    assert estimate.reach is None


def test_ids_that_were_made_for_a_key_are_noticed_and_chance_is_not() -> None:
    estimate, rng = learned(), random.Random(5)
    keys = [rng.randbytes(20) for _ in range(1_000)]
    suspects = sum(estimate.is_suspect(key, closest(key)) for key in keys)
    assert suspects < 25
    for count in (8, 20):
        for key in keys[:20]:
            assert estimate.is_suspect(key, closest(key, NODES + ground(key, count)))


@given(KEYS, KEYS, REACHES)
def test_hops_see_just_the_bits_that_lead_to_the_k_closest(
    key: bytes, noise: bytes, reach: int
) -> None:
    shown = blinded(key, reach, noise)
    off = distance(key, shown)
    hidden = max(0, reach.bit_length() - 9)
    assert off < 1 << hidden
    assert off == distance(key, noise) % (1 << hidden)


def test_a_blinded_key_leads_to_the_same_nodes() -> None:
    reach, rng = 2**160 * K // len(NODES), random.Random(6)
    for _ in range(100):
        key, noise = rng.randbytes(20), rng.randbytes(20)
        assert len(set(closest(key)) & set(closest(blinded(key, reach, noise)))) >= K - 1


@given(KEYS, KEYS, REACHES)
def test_probes_lie_around_the_key_and_not_at_it(key: bytes, noise: bytes, reach: int) -> None:
    points = probes(key, reach, noise)
    assert 1 <= len(points) <= 3
    for number, point in enumerate(points):
        assert distance(point, key).bit_length() == reach.bit_length() - number


def test_past_a_crowd_at_the_key_most_of_its_region_is_seen_from_the_probes() -> None:
    reach, rng = 2**160 * K // len(NODES), random.Random(7)
    seen, there = 0, 0
    for _ in range(100):
        key, noise = rng.randbytes(20), rng.randbytes(20)
        crowded = NODES + ground(key, K)
        found = {each for point in probes(key, reach, noise) for each in closest(point, crowded)}
        region = {each for each in NODES if distance(each.node_id, key) <= reach}
        seen, there = seen + len(region & found), there + len(region)
    assert seen / there > 0.85


def test_the_next_run_begins_with_the_last_few_lookups() -> None:
    learned_before, estimate = learned(), SizeEstimate()
    estimate.restore(learned_before.encode())
    assert len(learned_before.encode()) == 8 * 21
    assert estimate.reach is not None
    assert learned_before.reach is not None
    assert 0.5 < estimate.reach / learned_before.reach < 2
    assert estimate.encode() == learned_before.encode()


def test_where_the_network_has_changed_that_is_soon_outweighed() -> None:
    estimate = SizeEstimate()
    estimate.restore(learned().encode())
    for _ in range(9):
        estimate.found(bytes(20), NODES[:3], K)
    assert estimate.reach is None


@given(st.binary(max_size=400))
def test_what_was_not_kept_by_an_estimate_is_none(kept: bytes) -> None:
    estimate = SizeEstimate()
    estimate.restore(kept)
    assert estimate.reach is None or 0 < estimate.reach < 2**160


@pytest.mark.parametrize("count", [8, K, K * 3 // 2])
def test_a_lookup_of_fewer_or_more_nodes_says_as_much_of_the_density(count: int) -> None:
    estimate, rng = SizeEstimate(), random.Random(3)
    for _ in range(64):
        key = rng.randbytes(20)
        nearest = sorted(NODES, key=lambda each: distance(each.node_id, key))
        estimate.found(key, nearest[:count], count)
    reach = estimate.reach
    assert reach is not None
    assert 0.8 < reach / (2**160 * K / len(NODES)) < 1.25


def test_a_visit_to_a_few_does_not_say_that_there_are_k() -> None:
    estimate, nearest = SizeEstimate(), closest(bytes(20))
    estimate.found(bytes(20), nearest[:15], K * 3 // 2)
    estimate.found(bytes(20), nearest[:8], 8)
    assert estimate.reach is None
    estimate.found(bytes(20), nearest, K * 3 // 2)
    estimate.found(bytes(20), nearest[:8], 8)
    estimate.found(bytes(20), nearest[:8], 8)
    assert estimate.reach is not None
