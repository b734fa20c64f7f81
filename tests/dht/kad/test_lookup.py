from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.contacts import Contact, Hint, distance
from p2pfs.dht.kad.lookup import ALPHA, MAX_ASKED, Lookup
from p2pfs.dht.kad.table import K
from tests.dht.kad.nodes import contact

KEY, OWN = bytes(20), b"own".ljust(32)


def _lookup(*, near: bool = True) -> Lookup:
    return Lookup(KEY, OWN, lambda _: near)


def _by_distance(contacts: list[Contact]) -> list[Contact]:
    return sorted(contacts, key=lambda each: distance(each.node_id, KEY))


@given(st.integers(0, 2**32), st.integers(1, 120), st.sets(st.integers(0, 119)))
@settings(max_examples=30)
def test_it_finds_the_closest_living_nodes_whoever_is_dead(
    seed: int, size: int, dead: set[int]
) -> None:
    everybody = [contact(seed * 1_000 + number) for number in range(size)]
    alive = {each for number, each in enumerate(everybody) if number not in dead}
    by_hint = {each.hint: each for each in everybody}
    lookup = _lookup()
    lookup.add(each.hint for each in everybody)
    while not lookup.is_over:
        for hint in lookup.todo():
            if by_hint[hint] in alive:
                lookup.answered(hint, by_hint[hint])
            else:
                lookup.failed(hint)
    assert lookup.todo() == []
    expected = _by_distance(list(alive))[:K]
    asked_enough = size <= MAX_ASKED
    assert not asked_enough or lookup.closest() == expected


def test_at_least_three_are_asked_at_once_and_one_more_for_each_that_answers() -> None:
    everybody = _by_distance([contact(number) for number in range(30)])
    lookup = _lookup()
    lookup.add(each.hint for each in everybody)
    first = lookup.todo()
    assert len(first) == ALPHA >= 3
    assert lookup.todo() == []
    lookup.answered(first[0], everybody[0])
    assert len(lookup.todo()) == 1


def test_endless_closer_nodes_end_after_120_questions() -> None:
    lookup = _lookup()
    ports = itertools.count(1024)

    def closer() -> list[Hint]:
        away = 2**159 - next(ports)
        return [
            Hint(away.to_bytes(32, "big"), away.to_bytes(20, "big"), Endpoint("127.0.0.1", 7117))
        ]

    lookup.add(closer())
    asked = 0
    while not lookup.is_over:
        for hint in lookup.todo():
            asked += 1
            lookup.answered(hint, Contact(hint.public_key, hint.node_id, hint.endpoint, 1))
            lookup.add(closer(), hint.public_key)
    assert asked == MAX_ASKED


def test_what_a_liar_can_add_is_bounded() -> None:
    lookup = _lookup()
    lookup.add(contact(number).hint for number in range(10_000))
    assert len(lookup._candidates) <= 400


def test_of_a_referrer_whose_hints_are_dead_no_more_are_asked() -> None:
    lookup = _lookup()
    liar = contact(0)
    lookup.add([liar.hint])
    lookup.answered(lookup.todo()[0], liar)
    lookup.add((contact(number).hint for number in range(1, 100)), liar.public_key)
    asked = 0
    while not lookup.is_over:
        for hint in lookup.todo():
            asked += 1
            lookup.failed(hint)
    assert asked < 20


def test_three_of_a_24_at_most_are_candidates() -> None:
    lookup = _lookup(near=False)
    lookup.add(contact(number, f"8.8.8.{number}").hint for number in range(1, 10))
    assert len(lookup.todo()) == 3


def test_a_node_with_two_addresses_counts_once() -> None:
    node = contact(1)
    moved = Hint(node.public_key, node.node_id, Endpoint("127.0.0.1", 9999))
    lookup = _lookup()
    lookup.add([node.hint, moved])
    assert len(lookup.todo()) == 2
    lookup.answered(moved, Contact(node.public_key, node.node_id, moved.endpoint, 1))
    assert lookup.is_over
    assert len(lookup.closest()) == 1


def test_another_node_at_the_address_is_asked_as_itself() -> None:
    hinted, there = contact(1), contact(2)
    there = Contact(there.public_key, there.node_id, hinted.endpoint, 1)
    lookup = _lookup()
    lookup.add([hinted.hint])
    lookup.answered(lookup.todo()[0], there)
    assert lookup.closest() == []
    assert lookup.todo() == [there.hint]


def test_the_own_key_is_no_candidate() -> None:
    lookup = _lookup()
    lookup.add([Hint(OWN, bytes(20), Endpoint("127.0.0.1", 7117))])
    assert lookup.is_over
