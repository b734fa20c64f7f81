"""Where copies of a record go, what one lost datagram, or a holder that has gone, costs.

And by whose word a key is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import zip_longest

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.contacts import Contact
from p2pfs.dht.kad.exchange import gather, place_all
from p2pfs.dht.kad.wire import Get, Outcome, Reply, Request, Store
from p2pfs.dht.subjects import tag_subject
from tests.sim.adversaries import Lie, corrupt, crash
from tests.sim.records import publish, search, some_subject
from tests.sim.world import Node, World

SUBJECT = some_subject(1)
TAG = tag_subject("jazz")
FULL, NOT_FULL = Reply(outcome=Outcome.FULL, more=1_000), Reply(outcome=Outcome.STORED, count=1)
COUNTED_FULL = Reply(outcome=Outcome.STORED, count=1_000, more=1_000)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(5) as world:
        world.run(world.grow(30, settle=20))
        yield world


def ordered(world: World) -> list[Node]:
    """All nodes, those that are closest to the subject first."""
    return world.closest(SUBJECT.key, len(world.nodes))


def holds(world: World, node: Node) -> bool:
    return node.store.count(SUBJECT.key, int(world.clock())) > 0


def test_a_publisher_keeps_a_copy_if_it_is_as_close_as_those_that_get_one(world: World) -> None:
    *_, far = nodes = ordered(world)
    assert world.run(publish(world, far, SUBJECT)) == 20
    assert not holds(world, far)
    near = nodes[0]
    near.store.clear()
    assert world.run(publish(world, near, SUBJECT)) == 20
    assert holds(world, near)


def test_after_a_holder_was_silent_others_are_looked_for(world: World) -> None:
    *_, publisher = nodes = ordered(world)
    assert world.run(publish(world, publisher, SUBJECT)) == 20
    world.run(crash(world, nodes[3]))
    assert world.run(publish(world, publisher, SUBJECT)) == 19
    world.run(asyncio.sleep(10))
    assert world.run(publish(world, publisher, SUBJECT)) == 20


def test_where_there_are_fewer_nodes_than_copies_the_publisher_keeps_one() -> None:
    with World(5) as world:
        world.run(world.grow(2))
        for publisher in world.nodes:
            publisher.store.clear()
            assert world.run(publish(world, publisher, SUBJECT)) == 1
            assert holds(world, publisher)


def test_a_store_or_a_get_that_was_lost_is_sent_once_more() -> None:
    lost: list[type[Request]] = []

    def lose_the_first(request: Request, honest: Reply, _source: Endpoint) -> Reply | None:
        if not isinstance(request, Store | Get) or type(request) in lost:
            return honest
        lost.append(type(request))
        return None

    with World(5) as world:
        world.run(world.grow(2))
        publisher, holder = world.nodes
        corrupt(holder, lose_the_first)
        assert world.run(publish(world, publisher, SUBJECT)) == 1
        publisher.store.clear()
        assert len(world.run(search(world, publisher, SUBJECT))) == 1
        assert lost == [Store, Get]


def always(reply: Reply | None) -> Lie:
    """To a get or a store this answer."""

    def lie(request: Request, honest: Reply, _source: Endpoint) -> Reply | None:
        return reply if isinstance(request, Get | Store) else honest

    return lie


# What the closest answer, in this order; all farther ones, what is said last.
@pytest.mark.parametrize(
    ("votes", "is_full"),
    [
        ([FULL] * 5 + [NOT_FULL], True),
        ([COUNTED_FULL] * 5 + [NOT_FULL], True),
        ([NOT_FULL] * 4 + [FULL], False),
        ([FULL] * 3 + [None] * 3 + [NOT_FULL], True),
    ],
    ids=["more than half", "by their counts", "half, and those farther off", "of those who answer"],
)
def test_a_tag_is_full_if_most_say_so_of_those_where_it_belongs(
    votes: list[Reply | None], is_full: bool
) -> None:
    with World(5) as world:
        world.run(world.grow(24, settle=20))
        *others, own = world.closest(TAG.key, 24)
        for node, vote in zip_longest(others, votes, fillvalue=votes[-1]):
            corrupt(node, always(vote))
        heard = world.run(gather(own.server, TAG, lambda _: None))
        assert heard.is_full is is_full
        [placement] = world.run(place_all(own.server, [TAG], lambda: b"value"))
        assert placement.is_full is is_full


def test_ids_made_for_a_tag_do_not_outvote_those_who_say_that_it_is_full() -> None:
    with World(5) as world:
        world.run(world.grow(41, settle=20))
        *others, own = world.closest(TAG.key, 41)
        for number, node in enumerate(others):
            corrupt(node, always(FULL if 20 <= number < 28 else NOT_FULL))

        async def region(
            _key: bytes, _count: int, met: Callable[[Contact], object] = lambda _: None
        ) -> list[Contact]:
            crowd = [
                Contact(each.server.own_key, each.node_id, each.address, each.https.port)
                for each in others
            ]
            for each in crowd:
                met(each)
            return crowd

        own.server.finder.holders = region  # type: ignore[method-assign]
        assert world.run(gather(own.server, TAG, lambda _: None)).is_full
        [placement] = world.run(place_all(own.server, [TAG], lambda: b"value"))
        assert placement.is_full
