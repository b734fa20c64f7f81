"""Where copies of a record go, and what one lost datagram, or a holder that has gone, costs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.wire import Get, Reply, Request, Store
from tests.sim.adversaries import corrupt, crash
from tests.sim.records import publish, search, some_subject
from tests.sim.world import Node, World

SUBJECT = some_subject(1)


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
