from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kademlia.node import Node

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.buckets import BUCKETS
from p2pfs.dht.kad.contacts import Contact, distance
from p2pfs.dht.kad.lookup import Lookup
from p2pfs.dht.kad.table import K, Table
from tests.dht.kad.nodes import contact

OWN = bytes(20)


def near(_: str) -> bool:
    return True


def far(_: str) -> bool:
    return False


def _with_id(node_id: bytes, ip: str = "127.0.0.1", port: int = 7117) -> Contact:
    return Contact(node_id.rjust(32, b"\1"), node_id, Endpoint(ip, port), 7117)


def _bucket_ids(number: int) -> list[bytes]:
    """Ids that all fall into the first bucket of `OWN`."""
    return [bytes([0x80, number_ >> 8, number_ & 255]) + bytes(17) for number_ in range(number)]


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20))
def test_distance_is_that_of_the_kademlia_package(one: bytes, other: bytes) -> None:
    assert distance(one, other) == Node(one).distance_to(Node(other))


@given(st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_the_closest_are_exact_and_buckets_bounded_after_1050_contacts(seed: int) -> None:
    table = Table(OWN, near)
    everybody = [contact(seed * 2_000 + number) for number in range(1_050)]
    admitted = [each for each in everybody if table.admit(each, 0)]
    assert len(table) == len(admitted) <= BUCKETS * K
    key = random.Random(seed).randbytes(20)
    expected = sorted(admitted, key=lambda each: distance(each.node_id, key))[:K]
    assert table.closest(key) == expected
    for silent in expected[:3]:
        table.failed(silent.endpoint, 0)
    answering = table.closest(key, len(table))
    own = distance(OWN, key)
    assert table.closer(key) == sum(distance(each.node_id, key) < own for each in answering)


def test_of_1050_contacts_the_k_closest_to_the_own_id_are_all_held() -> None:
    table = Table(OWN, near)
    everybody = [contact(number) for number in range(1_050)]
    for each in everybody:
        table.admit(each, 0)
    expected = sorted(everybody, key=lambda each: distance(each.node_id, OWN))[:K]
    assert table.closest(OWN) == expected
    assert len(table) < 250


def test_whoever_is_old_and_alive_stays() -> None:
    table = Table(OWN, near)
    for port, node_id in enumerate(_bucket_ids(60), 2000):
        table.admit(_with_id(node_id, port=port), 0)
    ids = {each.node_id for each in table.closest(b"\x80" + bytes(19), 100)}
    assert set(_bucket_ids(K)) <= ids
    assert len(ids) <= 2 * K


def test_three_failures_over_two_minutes_evict_and_not_before() -> None:
    table = Table(OWN, near)
    gone, alive = contact(1), contact(2)
    table.admit(gone, 0)
    table.admit(alive, 0)
    for at in (1, 2, 3, 4, 120):
        table.answered(alive.endpoint, at - 0.5)
        table.failed(gone.endpoint, at)
    assert len(table) == 2
    table.answered(alive.endpoint, 120.5)
    table.failed(gone.endpoint, 121)
    assert table.get(gone.public_key) is None


def test_a_node_that_is_cut_off_forgets_nobody() -> None:
    table = Table(OWN, near)
    everybody = [contact(number) for number in range(5)]
    for each in everybody:
        table.admit(each, 0)
    for at in range(0, 1000, 60):
        for each in everybody:
            table.failed(each.endpoint, at)
    assert len(table) == 5


def test_who_is_heard_first_after_a_silence_condemns_nobody() -> None:
    table = Table(OWN, near)
    never_asked, first, late = contact(1), contact(2), contact(3)
    for each in (never_asked, first, late):
        table.admit(each, 0)
    for at in (1, 2, 7, 67, 127):  # this node is cut off
        table.failed(first.endpoint, at)
        table.failed(late.endpoint, at)
    table.answered(first.endpoint, 128)
    table.failed(late.endpoint, 128.5)  # was asked just before the end of it
    assert len(table) == 3
    table.answered(first.endpoint, 180)
    table.failed(late.endpoint, 188.5)  # is silent also now
    assert table.get(late.public_key) is None


def test_where_nobody_else_is_asked_for_long_the_dead_go_all_the_same() -> None:
    table = Table(OWN, near)
    gone, alive = contact(1), contact(2)
    table.admit(gone, 0)
    table.admit(alive, 0)
    for lookup in (0, 600, 1_200):
        table.answered(alive.endpoint, lookup + 1)
        for at in range(lookup + 2, lookup + 600, 60):
            table.failed(gone.endpoint, at)
    assert table.get(gone.public_key) is None


@given(
    st.lists(
        st.tuples(st.floats(0.1, 90), st.integers(0, 3), st.sampled_from(["failed", "answered"])),
        max_size=60,
    )
)
def test_whoever_goes_failed_thrice_over_two_minutes_with_answers_of_others_in_between(
    events: list[tuple[float, int, str]],
) -> None:
    table, now = Table(OWN, near), 0.0
    contacts = [contact(number) for number in range(4)]
    failures: dict[int, list[float]] = {number: [] for number in range(4)}
    heard = [0.0]
    for each in contacts:
        table.admit(each, now)
    for pause, number, what in events:
        now += pause
        before = len(table)
        if table.get(contacts[number].public_key) is None:
            continue
        getattr(table, what)(contacts[number].endpoint, now)
        failures[number] = [] if what == "answered" else [*failures[number], now]
        heard += [now] if what == "answered" else []
        if len(table) < before:
            mine = failures[number]
            # One failure after each of so many answers of others: the first says nothing alone.
            spoken = [any(a < at <= b for at in heard) for a, b in pairwise(mine)]
            assert sum(spoken) >= 2
            assert mine[-1] - mine[0] >= 120


def test_a_proof_is_trusted_for_ten_minutes_at_its_own_address() -> None:
    table = Table(OWN, near)
    node = contact(1)
    table.admit(node, 0)
    assert table.trusts(node.hint, 599)
    assert not table.trusts(node.hint, 600)
    assert not table.trusts(contact(1, "127.0.0.2").hint, 1)
    assert not table.trusts(contact(2).hint, 1)


def test_an_answer_clears_the_failures() -> None:
    table = Table(OWN, near)
    flaky = contact(1)
    table.admit(flaky, 0)
    for at in (0, 100):
        table.failed(flaky.endpoint, at)
    assert table.closest(OWN) == []
    table.answered(flaky.endpoint, 110)
    assert table.closest(OWN) == [flaky]
    table.failed(flaky.endpoint, 121)
    assert len(table) == 1


def test_suspects_are_asked_again_after_a_while() -> None:
    table = Table(OWN, near)
    flaky = contact(1)
    table.admit(flaky, 0)
    assert table.suspects(100) == []
    table.failed(flaky.endpoint, 100)
    assert table.suspects(100) == []
    assert table.suspects(101) == [flaky]


def test_the_place_of_the_evicted_goes_to_whoever_waited_longest() -> None:
    table = Table(OWN, near)
    for each in (contact(number) for number in range(200)):
        table.admit(each, 0)  # so that the first bucket's are no siblings
    before = len(table)
    first = next(each for each in table.closest(b"\xff" * 20, 200) if each.node_id[0] & 0x80)
    for at in (1, 61, 121):
        table.answered(Endpoint("127.0.0.1", 9), at - 0.5)  # somebody is heard
        table.failed(first.endpoint, at)
    assert len(table) == before
    assert table.get(first.public_key) is None


def _with_a_full_bucket() -> tuple[Table, list[Contact]]:
    """A table far from everybody, and those in its first bucket, each in a /16 of its own."""
    table = Table(OWN, far)
    for number in range(1, K + 1):  # so that the first bucket's are no siblings
        table.admit(_with_id(number.to_bytes(20, "big"), f"7.{number}.1.1"), 0)
    members = [
        _with_id(node_id, f"8.{number}.1.1") for number, node_id in enumerate(_bucket_ids(K))
    ]
    assert all(table.admit(each, 0) for each in members)
    return table, members


def _evict(table: Table, gone: Contact, now: float) -> None:
    """By failures of which the last is at that time."""
    for before in (120, 60, 0):
        table.answered(Endpoint("1.2.3.4", 9), now - before - 0.5)  # somebody is heard
        table.failed(gone.endpoint, now - before)
    assert table.get(gone.public_key) is None


def test_who_has_waited_for_a_place_was_last_proven_before_that() -> None:
    table, members = _with_a_full_bucket()
    waiting = _with_id(_bucket_ids(K + 1)[K], "9.9.1.1")
    assert not table.admit(waiting, 10)
    _evict(table, members[0], 4_000)
    assert table.get(waiting.public_key) == waiting
    assert not table.trusts(waiting.hint, 4_000)
    assert table.quiet(11)[-1] == waiting  # and so is asked


def test_who_proves_itself_again_while_it_waits_was_proven_then() -> None:
    table, members = _with_a_full_bucket()
    waiting = _with_id(_bucket_ids(K + 1)[K], "9.9.1.1")
    for now in (10, 3_900):
        table.admit(waiting, now)
    _evict(table, members[0], 4_000)
    assert table.trusts(waiting.hint, 4_000)


def test_one_network_does_not_take_all_places_where_contacts_wait() -> None:
    table, members = _with_a_full_bucket()
    ids = _bucket_ids(K + 11)[K:]
    for number, node_id in enumerate(ids[:10]):
        table.admit(_with_id(node_id, f"9.9.{number}.1"), 10)
    honest = _with_id(ids[10], "10.1.1.1")
    table.admit(honest, 20)
    for number, gone in enumerate(members[:4]):
        _evict(table, gone, 1_000 + 1_000 * number)
    assert table.get(honest.public_key) == honest
    crowd = [each for each in table.closest(ids[0], 100) if each.endpoint.ip.startswith("9.9.")]
    assert len(crowd) == 3


def test_who_has_waited_obeys_the_caps_when_a_place_is_free() -> None:
    table, members = _with_a_full_bucket()
    ids = _bucket_ids(K + 2)[K:]
    table.admit(_with_id(ids[0], "9.9.1.1"), 10)
    for bucket in range(1, 11):  # ten of its network come elsewhere meanwhile
        node_id = (1 << (159 - bucket)).to_bytes(20, "big")
        assert table.admit(_with_id(node_id, f"9.9.{bucket + 1}.1"), 20)
    table.admit(_with_id(ids[1], "11.1.1.1"), 30)
    _evict(table, members[0], 1_000)
    assert {each.node_id for each in table.closest(ids[0], 100)} & set(ids) == {ids[1]}


def test_a_key_that_proves_itself_elsewhere_has_moved() -> None:
    table = Table(OWN, near)
    here = contact(1)
    there = Contact(here.public_key, here.node_id, Endpoint("127.0.0.1", 9999), 9999)
    table.admit(here, 0)
    table.admit(there, 1)
    assert table.closest(OWN) == [there]
    assert table.at(here.endpoint) is None


def test_who_answers_by_ipv4_and_by_ipv6_stays_where_he_was_met_until_he_is_silent_there() -> None:
    table = Table(OWN, far)
    by_ipv4, by_ipv6 = contact(1, "8.8.8.8"), contact(1, "2600::1")
    table.admit(by_ipv4, 0)
    assert table.otherwise(by_ipv6.hint) == by_ipv4
    assert not table.would_admit(by_ipv6.hint)
    assert table.admit(by_ipv6, 1)
    assert table.closest(OWN) == [by_ipv4]
    table.failed(by_ipv4.endpoint, 2)
    assert table.otherwise(by_ipv6.hint) is None
    assert table.would_admit(by_ipv6.hint)
    table.admit(by_ipv6, 3)
    assert table.closest(OWN) == [by_ipv6]


def test_who_turns_out_to_be_near_has_moved() -> None:
    table = Table(OWN, lambda ip: ip.startswith("192.168."))
    afar, at_home = contact(1, "2600::1"), contact(1, "192.168.1.2")
    table.admit(afar, 0)
    table.admit(at_home, 1)
    table.admit(afar, 2)
    assert table.closest(OWN) == [at_home]


def test_an_address_that_proves_a_new_key_has_changed_hands() -> None:
    table = Table(OWN, near)
    before = contact(1)
    after = Contact(b"k" * 32, b"i" * 20, before.endpoint, 7117)
    table.admit(before, 0)
    table.admit(after, 1)
    assert table.closest(OWN) == [after]


def test_a_bucket_holds_two_of_a_24_and_three_of_a_16() -> None:
    table = Table(OWN, far)
    ips = ["8.8.1.1", "8.8.1.2", "8.8.1.3", "8.8.2.1", "8.8.3.1", "9.9.1.1"]
    taken = [
        table.admit(_with_id(node_id, ip), 0)
        for node_id, ip in zip(_bucket_ids(6), ips, strict=True)
    ]
    assert taken == [True, True, False, True, False, True]


def test_the_whole_table_holds_ten_of_a_16() -> None:
    table = Table(OWN, far)
    taken = 0
    for bucket in range(40):
        node_id = (1 << (159 - bucket)).to_bytes(20, "big")
        taken += table.admit(_with_id(node_id, f"8.8.{bucket}.1"), 0)
    assert taken == 10


def test_near_addresses_are_exempt_from_the_caps() -> None:
    table = Table(OWN, near)
    assert all(
        table.admit(_with_id(node_id, port=port), 0)
        for port, node_id in enumerate(_bucket_ids(10), 2000)
    )


def test_the_own_id_is_never_in_it() -> None:
    table = Table(OWN, near)
    assert not table.admit(_with_id(OWN), 0)
    assert not table.would_admit(_with_id(OWN).hint)


@pytest.mark.parametrize("bucket", [0, 1, 7, 8, 158, 159])
def test_a_bucket_that_no_lookup_went_through_is_stale(bucket: int) -> None:
    table = Table(OWN, near)
    node_id = (1 << (159 - bucket)).to_bytes(20, "big")
    table.admit(_with_id(node_id), 0)
    assert table.stale_buckets(10) == [bucket]
    table.touch(node_id, 20)
    assert table.stale_buckets(10) == []


def test_buckets_of_none_but_the_closest_need_no_lookup_of_their_own() -> None:
    table = Table(OWN, near)
    for number in range(1, 2 * K):
        table.admit(_with_id(number.to_bytes(20, "big"), port=2_000 + number), 0)
    # The k closest, 1 to 20, lie in five buckets; the last of them holds others too.
    assert table.stale_buckets(10) == [160 - (39).bit_length(), 160 - K.bit_length()]


def test_whoever_was_not_heard_of_is_quiet_the_longest_first() -> None:
    table = Table(OWN, near)
    early, late, silent, heard = (contact(number) for number in range(4))
    for each, now in ((late, 5), (early, 3), (silent, 1), (heard, 2)):
        table.admit(each, now)
    table.failed(silent.endpoint, 6)  # a suspect, who is asked anyway
    table.answered(heard.endpoint, 20)
    assert table.quiet(10) == [early, late]
    assert table.quiet(5) == [early]


def test_a_snapshot_tells_the_time_of_day_at_which_each_was_seen() -> None:
    table = Table(OWN, near)
    table.admit(contact(1), 60.0)
    assert [each.last_seen for each in table.snapshot(1_000_000.0)] == [1_000_060]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=300),
    st.lists(st.integers(0, 400), max_size=100),
)
@settings(deadline=None)
def test_neither_newcomers_nor_referrals_evict_whoever_answers(
    came: list[tuple[int, bool]], referred: list[int]
) -> None:
    table = Table(OWN, lambda _: False)
    stayed: list[Contact] = []
    for seed, lives in came:
        newcomer = contact(seed, f"8.{seed % 50}.{seed % 7}.{seed % 250}")
        if table.get(newcomer.public_key) is None and table.at(newcomer.endpoint) is None:
            is_in = table.admit(newcomer, 0)
            stayed += [newcomer] if is_in and lives else []
    for seed in referred:  # hints, be they of whom they will, go to lookups and nowhere else
        referral = contact(seed, f"9.{seed % 50}.1.1").hint
        Lookup(OWN, bytes(32), [referral], lambda _: False).todo()
        table.would_admit(referral)
    for each in stayed:
        assert table.get(each.public_key) == each
