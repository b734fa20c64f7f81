"""Whom a newcomer begins with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from p2pfs.dht.kad.wire import Find, Kind, parse_request
from tests.sim.internet import steady
from tests.sim.world import World

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from tests.sim.world import Node


def first_finds(world: World, peers: list[Node], count: int) -> list[tuple[float, Endpoint]]:
    """When, after its start, and whom a newcomer asks that is told of these."""
    newcomer, began = world.create(), world.loop.time()
    asked: list[tuple[float, Endpoint]] = []

    def tap(data: bytes, source: Endpoint, to: Endpoint) -> None:
        asks = source == newcomer.address and data[0] == Kind.REQUEST
        if asks and isinstance(parse_request(data), Find):
            asked.append((world.loop.time() - began, to))

    world.internet.taps.append(tap)
    world.run(world.start(newcomer, peers))
    world.run(asyncio.sleep(5))
    return asked[:count]


def test_a_newcomer_begins_with_three_of_its_peers_not_with_the_first_that_answers() -> None:
    """That one may lie, and lead to his like alone."""
    late = set[str]()

    def latency(source: Endpoint, to: Endpoint, _random: object) -> float:
        return 0.02 if late.isdisjoint((source.ip, to.ip)) else 0.08

    with World(3, latency=latency) as world:
        world.run(world.grow(12, settle=10))
        peers = world.nodes[3:6]
        late.add(peers[-1].address.ip)
        asked = first_finds(world, peers, 3)
        assert {to for _, to in asked} == {node.address for node in peers}


def test_a_slow_neighbour_is_met_too() -> None:
    """Its answer comes after the time-out for strangers, and no lookup waits for it."""
    pair = set[str]()

    def latency(source: Endpoint, to: Endpoint, _random: object) -> float:
        return 0.3 if {source.ip, to.ip} == pair else 0.02

    with World(7, latency=latency) as world:
        world.run(world.grow(60, settle=30))
        newcomer = world.create()
        own_id = world.network.node_id(newcomer.identity.public_key)
        neighbour = world.closest(own_id, 1, among=world.nodes[:-1])[0]
        pair.update((newcomer.address.ip, neighbour.address.ip))
        peers = [node for node in world.nodes[:4] if node is not neighbour]
        world.run(world.start(newcomer, peers))
        world.run(asyncio.sleep(10))
        for one, other in ((newcomer, neighbour), (neighbour, newcomer)):
            assert one.server.table.get(other.identity.public_key) is not None


def test_it_waits_for_dead_ones_a_moment_only() -> None:
    with World(6, latency=steady(0.05)) as world:
        world.run(world.grow(2, settle=1))
        never_started = world.create()
        [(after, to)] = first_finds(world, [world.nodes[0], never_started], 1)
        assert to in {node.address for node in world.nodes[:2]}
        assert after < 0.5
