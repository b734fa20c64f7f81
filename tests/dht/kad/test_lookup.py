from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.contacts import Contact, Hint, distance
from p2pfs.dht.kad.lookup import ALPHA, MAX_ASKED, STARTS, Lookup
from p2pfs.dht.kad.table import K
from tests.dht.kad.nodes import contact

KEY, OWN = bytes(20), b"own".ljust(32)
ENDPOINT = Endpoint("127.0.0.1", 7117)


def _at(away: int) -> Hint:
    """A node so far from the key."""
    return Hint(away.to_bytes(32, "big"), away.to_bytes(20, "big"), ENDPOINT)


def _there(hint: Hint) -> Contact:
    return Contact(hint.public_key, hint.node_id, hint.endpoint, 1)


def _lookup(*starts: Contact, near: bool = True) -> Lookup:
    return Lookup(KEY, OWN, [each.hint for each in starts], lambda _: near)


def _by_distance(contacts: list[Contact]) -> list[Contact]:
    return sorted(contacts, key=lambda each: distance(each.node_id, KEY))


def _run(lookup: Lookup, ask: Callable[[Hint], None]) -> list[Hint]:
    """Ask to the end; who was asked."""
    asked: list[Hint] = []
    while not lookup.is_over:
        todo = lookup.todo()
        assert todo, "it waits for nobody"
        for hint in todo:
            asked.append(hint)
            ask(hint)
    assert lookup.todo() == []
    return asked


@given(st.integers(0, 2**32), st.integers(1, 90), st.sets(st.integers(0, 89)))
@settings(max_examples=30)
def test_it_finds_the_closest_living_nodes_whoever_is_dead(
    seed: int, size: int, dead: set[int]
) -> None:
    everybody = [contact(seed * 1_000 + number) for number in range(size)]
    alive = {each for number, each in enumerate(everybody) if number not in dead}
    by_hint = {each.hint: each for each in everybody}
    lookup = _lookup(*everybody)

    def ask(hint: Hint) -> None:
        if by_hint[hint] in alive:
            lookup.answered(hint, by_hint[hint], random.sample(list(by_hint), min(size, 20)))
        else:
            lookup.failed(hint)

    asked = _run(lookup, ask)
    assert len(asked) == len(set(asked)) <= MAX_ASKED
    answered = [by_hint[hint] for hint in asked if by_hint[hint] in alive]
    assert lookup.closest() == _by_distance(answered)[:K]
    nearest = _by_distance([by_hint[hint] for hint in set(asked)])[:K]
    assert size > STARTS or set(nearest) & alive <= set(lookup.closest())
    assert bool(lookup.closest()) == bool(alive)


def test_all_starts_are_asked_at_once_and_then_as_many_as_may_be_under_way() -> None:
    everybody = _by_distance([contact(number) for number in range(60)])
    lookup = _lookup(*everybody)
    first = lookup.todo()
    assert first == [each.hint for each in everybody[:STARTS]]
    assert lookup.todo() == []
    named = [Hint(bytes([n]) * 32, bytes(19) + bytes([n]), ENDPOINT) for n in range(1, 21)]
    for hint, start in zip(first[-3:], everybody[STARTS - 3 : STARTS], strict=True):
        lookup.answered(hint, start, named)
    assert len(lookup.todo()) == ALPHA - STARTS + 3


def test_where_nearly_all_starts_are_dead_others_are_asked() -> None:
    everybody = _by_distance([contact(number) for number in range(90)])
    lookup = _lookup(*everybody)
    for hint in lookup.todo()[:-8]:
        lookup.failed(hint)
    assert lookup.todo() == []  # eight may still lead somewhere
    awaited = everybody[STARTS - 8 : STARTS]
    lookup.failed(awaited[0].hint)
    others = lookup.todo()
    assert others == [each.hint for each in everybody[STARTS:][: STARTS - 7]]
    for each in (*awaited[1:], *everybody[STARTS:][: STARTS - 7]):
        lookup.failed(each.hint)
    last = {each.hint: each for each in everybody}

    def ask(hint: Hint) -> None:
        if last[hint] is everybody[-1]:
            lookup.answered(hint, everybody[-1], [])
        else:
            lookup.failed(hint)

    _run(lookup, ask)
    assert lookup.closest() == [everybody[-1]]


def test_endless_closer_nodes_end_after_120_questions() -> None:
    numbers = itertools.count(1)

    def closer() -> list[Hint]:
        return [_at(2**159 - next(numbers))]

    lookup = Lookup(KEY, OWN, closer(), lambda _: True)
    asked = _run(lookup, lambda hint: lookup.answered(hint, _there(hint), closer()))
    assert len(asked) == MAX_ASKED


def test_what_one_path_asks_leaves_the_others_their_share() -> None:
    """A liar answers at once with ever closer friends; honest starts answer much later."""
    numbers = itertools.count(1)
    starts = [contact(number) for number in range(STARTS)]
    lookup = _lookup(*starts)
    honest = lookup.todo()
    liar = honest.pop()
    friends = [liar]
    while friends:
        for friend in friends:
            lookup.answered(friend, _there(friend), [_at(2**100 - next(numbers))])
        friends = lookup.todo()
    target = _at(1)
    lookup.answered(honest[0], _there(honest[0]), [target])
    assert lookup.todo() == [target]
    assert next(numbers) < 10


def test_of_everybody_who_answers_two_are_asked_however_near_others_are() -> None:
    colluder, honest = _by_distance([contact(1), contact(2)])
    lookup = _lookup(colluder, honest)
    first = lookup.todo()
    crowd = [_at(number) for number in range(1, 1 + K)]
    lookup.answered(first[0], colluder, crowd)
    for hint in lookup.todo():
        lookup.answered(hint, _there(hint), crowd)
    far = [_at(2**158), _at(2**158 + 1), _at(2**158 + 2)]
    lookup.answered(first[1], honest, far)
    assert lookup.todo() == far[:2]


def test_what_paths_leave_that_have_ended_goes_to_those_that_have_not() -> None:
    chain = [_at(2**150 - number) for number in range(60)]
    starts = [contact(number) for number in range(STARTS)]
    by_hint = {each.hint: each for each in starts}

    def ask(hint: Hint) -> None:
        if hint in by_hint:
            lookup.answered(hint, by_hint[hint], chain[:1] if hint == starts[0].hint else [])
        else:
            lookup.answered(hint, _there(hint), chain[chain.index(hint) + 1 :][:1])

    lookup = _lookup(*starts)
    assert set(chain) <= set(_run(lookup, ask))


def test_what_paths_leave_is_shared_out_while_somebody_is_asked_who_is_needed_no_more() -> None:
    starts = [_at(2**100 + number) for number in range(STARTS - 1)]
    near, beside = _at(1_000), _at(1_001)
    lookup = Lookup(KEY, OWN, [*starts, near], lambda _: True, k=2)
    lookup.todo()
    lookup.answered(near, _there(near), [beside])
    assert lookup.todo() == [beside]  # for the moment one of the two closest
    for other in starts[1:]:
        lookup.answered(other, _there(other), [])
    last = starts[0]
    for away in range(900, 896, -1):  # uses up its path
        lookup.answered(last, _there(last), [_at(away)])
        (last,) = lookup.todo()
    closest = _at(1)
    lookup.answered(last, _there(last), [closest])
    assert not lookup.is_over
    assert lookup.todo() == [closest]


def test_who_is_late_holds_nothing_up_but_a_place_among_the_closest() -> None:
    crowd = [_at(number) for number in range(1, 1 + K)]
    slow, quick = _by_distance([contact(1), contact(2)])
    lookup = _lookup(slow, quick)
    for hint in lookup.todo():
        if hint == slow.hint:
            lookup.late(hint)
        else:
            lookup.answered(hint, quick, crowd)
    asked = lookup.todo()
    assert asked == crowd
    for hint in asked[1:]:
        lookup.answered(hint, _there(hint), [])
    lookup.late(asked[0])
    assert lookup.todo() == []
    assert not lookup.is_over
    lookup.answered(asked[0], _there(asked[0]), [])
    assert lookup.is_over
    assert lookup.unanswered() == [slow.hint]
    assert lookup.silent(K) == []
    assert lookup.silent(K + 1) == [slow.hint]
    lookup.answered(slow.hint, slow, [])
    assert slow in lookup.answerers()


def test_while_there_are_fewer_than_k_the_late_are_waited_for() -> None:
    slow = contact(1)
    lookup = _lookup(slow)
    lookup.late(*lookup.todo())
    assert not lookup.is_over
    lookup.answered(slow.hint, slow, [])
    assert lookup.is_over
    assert lookup.closest() == [slow]


def test_of_a_referrer_whose_hints_are_dead_no_more_are_asked() -> None:
    liar = contact(0)
    dead = [contact(number).hint for number in range(1, 100)]

    def ask(hint: Hint) -> None:
        if hint == liar.hint:
            lookup.answered(hint, liar, dead)
        else:
            lookup.failed(hint)

    lookup = _lookup(liar)
    assert len(_run(lookup, ask)) < 25
    assert lookup.silent(K) == []


def test_three_of_a_24_at_most_are_candidates_and_two_are_found() -> None:
    crowd = [contact(number, f"8.8.8.{number}") for number in range(1, 10)]
    by_hint = {each.hint: each for each in crowd}
    lookup = _lookup(*crowd, near=False)
    assert len(_run(lookup, lambda hint: lookup.answered(hint, by_hint[hint], []))) == 3
    assert len(lookup.closest()) == 2


def test_a_crowd_of_one_16_takes_three_places_and_the_others_are_still_found() -> None:
    crowd = [
        Contact(_at(n).public_key, _at(n).node_id, Endpoint(f"8.8.{n}.1", 7117), 1)
        for n in range(1, 41)
    ]
    others = [contact(number, f"9.{number}.1.1") for number in range(K)]
    named = [each.hint for each in crowd + others]
    by_hint = {each.hint: each for each in crowd + others}
    lookup = _lookup(crowd[0], near=False)
    _run(lookup, lambda hint: lookup.answered(hint, by_hint[hint], named))
    assert lookup.closest() == crowd[:3] + _by_distance(others)[: K - 3]


def test_a_node_with_two_addresses_counts_once() -> None:
    node = contact(1)
    moved = Hint(node.public_key, node.node_id, Endpoint("127.0.0.1", 9999))
    lookup = Lookup(KEY, OWN, [node.hint, moved], lambda _: True)
    assert len(lookup.todo()) == 2
    lookup.answered(moved, _there(moved), [])
    lookup.failed(node.hint)
    assert lookup.is_over
    assert len(lookup.closest()) == 1


def test_a_node_that_answers_at_two_addresses_takes_one_place_among_the_closest() -> None:
    everybody = [_at(away) for away in range(1, K + 6)]
    doubles = [
        Hint(each.public_key, each.node_id, Endpoint("127.0.0.2", 7117)) for each in everybody[:5]
    ]
    lookup = Lookup(KEY, OWN, [_at(99)], lambda _: True)
    named = [*everybody[:15], *doubles]
    [start] = lookup.todo()
    lookup.answered(start, _there(start), named)
    counted = [
        lookup.answered(hint, _there(hint), everybody) for _ in range(9) for hint in lookup.todo()
    ]
    assert lookup.is_over
    assert [each.node_id for each in lookup.closest()] == [each.node_id for each in everybody[:K]]
    assert sum(counted) == len(lookup.answerers()) - 1


def test_of_a_key_with_many_addresses_three_are_asked_that_are_not_known_to_be_silent() -> None:
    node = contact(1)
    said = [Hint(node.public_key, node.node_id, Endpoint("127.0.0.1", 9_000 + n)) for n in range(9)]
    lookup = Lookup(KEY, OWN, said, lambda _: True)
    asked = lookup.todo()
    assert len(asked) == 3
    lookup.failed(asked[0])
    assert len(lookup.todo()) == 1


def test_another_node_at_the_address_is_asked_as_itself() -> None:
    hinted, there = contact(1), contact(2)
    there = Contact(there.public_key, there.node_id, hinted.endpoint, 1)
    lookup = _lookup(hinted)
    lookup.answered(lookup.todo()[0], there, [])
    assert lookup.closest() == []
    assert lookup.todo() == [there.hint]


def test_the_own_key_is_no_candidate() -> None:
    lookup = Lookup(KEY, OWN, [Hint(OWN, bytes(20), ENDPOINT)], lambda _: True)
    assert lookup.is_over


def test_who_has_answered_an_earlier_one_is_found_and_not_asked() -> None:
    old, new = [contact(n) for n in range(30)], contact(99)
    lookup = Lookup(KEY, OWN, [new.hint], lambda _: True, K, old)
    named = [each.hint for each in old]
    assert _run(lookup, lambda hint: lookup.answered(hint, new, named)) == [new.hint]
    assert lookup.closest() == _by_distance([*old, new])[:K]
    assert Lookup(KEY, OWN, [], lambda _: True, K, old).is_over


def test_beside_those_of_an_earlier_one_all_others_may_be_asked() -> None:
    """What they had said is forgotten; they are not taken for liars, nor any path for used up."""
    start, old, nearer = contact(99), [_there(_at(2**150 + n)) for n in range(K)], _at(1)
    lookup = Lookup(KEY, OWN, [start.hint], lambda _: True, K, old)
    assert lookup.todo() == [start.hint]
    lookup.answered(start.hint, start, [nearer])
    assert lookup.todo() == [nearer]


def test_those_that_were_named_and_not_asked_are_heard_of() -> None:
    start = contact(1)
    lookup = _lookup(start)
    lookup.todo()
    named = [_at(2**159 + number) for number in range(2 * K)]
    lookup.answered(start.hint, start, named)
    asked = lookup.todo()
    assert asked
    assert set(lookup.unasked()) == set(named) - set(asked)


def test_of_whom_only_liars_have_named_nothing_is_heard() -> None:
    start = contact(1)
    lookup = _lookup(start)
    lookup.todo()
    lookup.answered(start.hint, start, [_at(number) for number in range(1, 2 * K)])
    for dead in lookup.todo():
        lookup.failed(dead)
    assert lookup.unasked() == []
