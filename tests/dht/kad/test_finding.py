"""Where looks for the table's sake begin, and what silence is taken for; who is asked is played."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.dht.kad import finding
from p2pfs.dht.kad.acquaintances import Acquaintances
from p2pfs.dht.kad.contacts import Contact, Hint, distance
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.finding import Finder
from p2pfs.dht.kad.lookup import Lookup
from p2pfs.dht.kad.referrals import pack_referrals
from p2pfs.dht.kad.server import Server
from p2pfs.dht.kad.table import Table
from p2pfs.dht.kad.wire import Reply, Request
from tests.dht.kad.nodes import NETWORK, contact

KEY, OWN = bytes(20), b"\xff" * 20


class Asker(SimpleNamespace):
    """A server as far as a finder looks at it; whoever it asks keeps silent."""

    def __init__(self, contacts: Iterable[Contact]) -> None:
        neighbourhood = Neighbourhood()
        super().__init__(
            settings=SimpleNamespace(
                k=20, network=NETWORK, neighbourhood=neighbourhood, random=Random(0)
            ),
            own_id=OWN,
            own_key=bytes(32),
            table=Table(OWN, neighbourhood.is_near),
            acquaintances=Acquaintances(),
            announced={},
            monotonic=lambda: 0.0,
            asker=self,
            asked=[],
            failures=[],
        )
        for each in contacts:
            assert self.table.admit(each, 0.0)

    async def ask_proof(self, to: Endpoint, _request: Request) -> NoReturn:
        self.asked.append(to)
        raise SilentError

    def failed(self, address: Endpoint) -> None:
        self.failures.append(address)

    @property
    def finder(self) -> Finder:
        return Finder(cast("Server", self))


def _far(numbers: Iterable[int]) -> list[Contact]:
    """Each in a network of its own."""
    return [contact(number, f"{1 + number // 200}.{1 + number % 200}.1.1") for number in numbers]


def _by_distance(contacts: Iterable[Contact], key: bytes) -> list[Hint]:
    return [each.hint for each in sorted(contacts, key=lambda each: distance(each.node_id, key))]


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Hint]:
    """Whom lookups ask first; nobody answers."""
    starts: list[Hint] = []

    async def crawl(lookup: Lookup, *_: object) -> None:
        starts.extend(lookup.todo())

    monkeypatch.setattr(finding, "crawl", crawl)
    return starts


async def test_a_visit_begins_at_two_contacts_and_the_six_closest_strangers(
    begun: list[Hint],
) -> None:
    known, strangers = _far(range(20)), _far(range(1_600, 1_700))
    await Asker(known).finder.visit(KEY, [each.hint for each in strangers])
    assert set(begun) == {*_by_distance(known, KEY)[:2], *_by_distance(strangers, KEY)[:6]}


async def test_contacts_take_the_places_of_strangers_that_are_missing(begun: list[Hint]) -> None:
    known = _far(range(20))
    await Asker(known).finder.visit(KEY, ())
    assert set(begun) == set(_by_distance(known, KEY)[:8])


async def test_no_stranger_was_asked_before_or_is_known_or_announced_on_the_lan(
    begun: list[Hint],
) -> None:
    known, strangers = _far(range(10)), _far(range(1_600, 1_603))
    server = Asker(known)
    server.acquaintances.asking(strangers[0].endpoint, 0.0)
    server.announced[strangers[1].endpoint] = None
    await server.finder.visit(KEY, [each.hint for each in (*known, *strangers)])
    assert strangers[2].hint in begun
    assert not {strangers[0].hint, strangers[1].hint} & set(begun)


async def test_what_strangers_are_named_takes_no_place_of_contacts_on_the_lan(
    begun: list[Hint],
) -> None:
    known = [contact(number) for number in range(6)]
    server = Asker(known)
    server.announced.update(dict.fromkeys(each.endpoint for each in known))
    await server.finder.visit(KEY, [each.hint for each in _far(range(1_600, 1_601))])
    assert len({each.hint for each in known} & set(begun)) >= 6


async def test_of_strangers_in_one_network_not_all_are_asked(begun: list[Hint]) -> None:
    crowd = [contact(number, f"9.9.{number}.1") for number in range(12)]
    others = _far(range(1_600, 1_608))
    heard = [each.hint for each in (*crowd, *others)]
    await Asker(()).finder.visit(KEY, heard)
    assert len(begun) == 6
    assert sum(hint.endpoint.ip.startswith("9.9.") for hint in begun) <= 1


async def test_another_look_for_the_own_id_begins_all_over_the_table_and_at_four_strangers(
    begun: list[Hint],
) -> None:
    known, strangers = _far(range(60)), _far(range(1_600, 1_620))
    finder = Asker(known[:40]).finder
    own = cast("Server", finder._server).own_id
    before = Lookup(own, bytes(32), [], lambda _: False, 30, known[40:])
    after = await finder.meet_neighbours(before, [each.hint for each in strangers])
    new = _by_distance(known[:40], own)
    assert [hint for hint in begun if hint in new] == [new[at * 5] for at in range(8)]
    assert len(begun) == 12
    assert {each.public_key for each in after.answerers()} == {
        each.public_key for each in known[40:]
    }


async def test_one_after_a_look_that_nobody_answered_begins_anew(begun: list[Hint]) -> None:
    known = _far(range(40))
    before = Lookup(OWN, bytes(32), [], lambda _: False, 30)
    await Asker(known).finder.meet_neighbours(before, ())
    assert len(begun) == 24


@pytest.mark.parametrize("was_silent", [False, True])
async def test_who_was_silent_a_moment_ago_is_taken_for_dead_and_not_asked(
    was_silent: bool,
) -> None:
    node, server = contact(1), Asker(())
    if was_silent:
        server.acquaintances.kept_silent(node.endpoint, 0.0)
    lookup = Lookup(KEY, bytes(32), [node.hint], lambda _: True)
    lookup.todo()
    assert await server.finder._find(lookup, KEY, node.hint) is None
    assert lookup.is_over
    # No failure in the table either: one silence must not count with every lookup.
    assert server.asked == server.failures == ([] if was_silent else [node.endpoint])


async def test_who_is_late_to_the_end_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def crawl(lookup: Lookup, *_: object) -> None:
        lookup.late(*lookup.todo())

    monkeypatch.setattr(finding, "crawl", crawl)
    server = Asker([contact(1)])
    await server.finder.lookup(KEY)
    assert server.failures == [contact(1).endpoint]


@pytest.mark.parametrize("is_whole", [True, False])
async def test_only_of_a_lookup_that_ended_is_remembered_what_it_found(
    monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    known = {each.hint: each for each in _far(range(22))}

    async def crawl(lookup: Lookup, *_: object) -> None:
        closest, *others = lookup.todo()
        for hint in (closest, *others) if is_whole else others:
            lookup.answered(hint, known[hint], ())

    monkeypatch.setattr(finding, "crawl", crawl)
    server = Asker(known.values())
    finder = server.finder
    assert len(await finder.holders(KEY, 20)) == 20
    assert bool(finder.regions.closest(KEY, 20, server.monotonic())) is is_whole
    assert (finder.estimate.reach is not None) is is_whole


def region_of(there: Iterable[Contact]) -> list[Hint]:
    """Whom a node takes for the region of the key if all of these answer."""
    finder = Asker(()).finder
    finder.estimate.restore(((1 << 160) - 1).to_bytes(21, "big"))  # nobody is beyond it
    lookup = Lookup(KEY, bytes(32), [], lambda _: True, 20, there)
    return [each.hint for each in asyncio.run(finder.whole_region(lookup))]


def test_of_a_region_the_sixty_closest_are_taken() -> None:
    there = _far(range(100))
    assert region_of(there) == _by_distance(there, KEY)[:60]


def test_of_a_region_three_of_one_network_are_taken() -> None:
    crowd = [contact(number, f"9.9.{number}.1") for number in range(12)]
    assert region_of(crowd) == _by_distance(crowd, KEY)[:3]


def test_a_contact_that_is_named_by_another_family_is_asked_as_a_contact() -> None:
    known, stranger, unreached = contact(1, "8.8.8.8"), contact(2, "2600::2"), contact(3, "2a00::3")
    server = Asker([known])
    server.sockets = SimpleNamespace(reaches=lambda address: address.ip != "2a00::3")
    named = [
        (each.public_key, each.endpoint) for each in (contact(1, "2600::1"), stranger, unreached)
    ]
    packed_4, packed_6 = pack_referrals(named)
    reply = Reply(referrals_4=packed_4, referrals_6=packed_6)
    assert server.finder._hints(reply, "9.9.9.9") == [known.hint, stranger.hint]
