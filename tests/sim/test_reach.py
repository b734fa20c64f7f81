"""Clients and servers in a simulated network: who is behind a router finds out, unlisted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.reachability import RECHECK_SECONDS
from p2pfs.dht.kad.wire import Ping, Reach
from tests.sim.internet import Attachment, Received
from tests.sim.world import Node, World

SEED = 7


class Router(Attachment):
    """Lets in only what comes from where something was sent to: address and port."""

    async def open(self, received: Received) -> None:
        self._opened: set[Endpoint | str] = set()

        def filtered(data: bytes, source: Endpoint) -> None:
            if self.filtered_by(source) in self._opened:
                received(data, source)

        await super().open(filtered)

    def sendto(self, data: bytes, address: Endpoint) -> None:
        self._opened.add(self.filtered_by(address))
        super().sendto(data, address)

    def filtered_by(self, address: Endpoint) -> Endpoint | str:
        return address


class LaxRouter(Router):
    """The same by address alone: RFC 4787 calls that address-dependent filtering."""

    def filtered_by(self, address: Endpoint) -> Endpoint | str:
        return address.ip


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World(SEED, k=8)
    world.run(world.grow(80, settle=20))
    yield world
    world.close()


async def newcomer(world: World, router: type[Attachment] = Attachment) -> Node:
    node = world.create()
    await world.start(node, world.some_members(), server=None, router=router)
    await node.membership.wait_settled()
    return node


async def reached(node: Node) -> bool:
    """Whether a stranger got through; who dials may be one that it has asked, then in a minute."""
    for _ in range(5):
        if await node.server.dialbacks.check():
            return True
        await asyncio.sleep(60)
    return False


def listed(world: World, node: Node) -> int:
    """In how many tables it is."""
    key = node.identity.public_key
    return sum(each.server.table.get(key) is not None for each in world.members())


def test_behind_a_router_a_node_stays_a_client_that_nobody_lists(world: World) -> None:
    async def scenario() -> None:
        node = await newcomer(world, Router)
        assert not await node.server.dialbacks.check()
        await asyncio.sleep(120)
        assert not node.server.reachability.is_server(node.server.monotonic())
        assert listed(world, node) == 0
        assert len(node.server.table) >= 8  # and yet it has joined

    world.run(scenario())


def test_who_comes_from_another_port_of_an_address_that_was_asked_is_no_stranger(
    world: World,
) -> None:
    async def scenario() -> None:
        node = await newcomer(world, LaxRouter)
        asked = node.server.contacts()[0].endpoint
        beside = world.create(Endpoint(asked.ip, asked.port + 1))
        await world.start(beside, world.some_members(), server=None)
        await beside.server.asker.ask(node.address, Ping())  # gets through
        assert not node.server.reachability.is_heard(node.server.monotonic())
        await world.stop(beside)

    world.run(scenario())


def test_a_node_that_strangers_reach_is_listed_once_both_ports_are_proven(world: World) -> None:
    async def scenario() -> None:
        node = await newcomer(world)
        assert listed(world, node) == 0
        assert await reached(node)
        assert not node.server.reachability.is_server(node.server.monotonic())
        node.server.reachability.reached_by_https(node.address.ip, node.server.monotonic())
        node.membership.introduce()
        await asyncio.sleep(60)
        assert listed(world, node) >= 8

    world.run(scenario())


def test_a_dialback_is_one_datagram_to_an_asker_in_ten_seconds(world: World) -> None:
    dialed: list[Endpoint] = []

    def tap(data: bytes, _source: Endpoint, to: Endpoint) -> None:
        if b"dialed" in data:
            dialed.append(to)

    async def scenario() -> None:
        node, helper = await newcomer(world), world.nodes[0]
        for expected in (1, 2):
            for _ in range(5):
                await node.server.asker.ask(helper.address, Reach(dial_nonce=bytes(16)))
            await asyncio.sleep(10)
            assert dialed == [node.address] * expected

    world.internet.taps.append(tap)
    world.run(scenario())
    world.internet.taps.remove(tap)


def test_servers_stay_servers_where_nobody_new_comes() -> None:
    async def watch(node: Node) -> None:
        """As `Tending.watch_reach`."""
        while True:
            node.server.reachability.reached_by_https(node.address.ip, node.server.monotonic())
            await node.server.dialbacks.check()
            await asyncio.sleep(RECHECK_SECONDS if node.server.is_server else 60)

    with World(SEED, k=4) as small:

        async def scenario() -> None:
            nodes = [await newcomer(small) for _ in range(16)]
            watching = [asyncio.create_task(watch(node)) for node in nodes]
            await asyncio.sleep(2.5 * 3_600)
            assert sum(node.server.is_server for node in nodes) >= 15
            for each in watching:
                each.cancel()

        small.run(scenario())


def test_in_a_network_where_everybody_is_known_https_is_enough() -> None:
    with World(SEED, k=8) as small:

        async def scenario() -> None:
            await small.grow(5, settle=5)
            node = await newcomer(small)
            await asyncio.sleep(60)
            assert not await node.server.dialbacks.check()  # all were asked
            assert not node.server.dialbacks.may_show

        small.run(scenario())
