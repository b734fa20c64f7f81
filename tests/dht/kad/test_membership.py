from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.membership import saved_addresses
from p2pfs.dht.kad.table import Table
from p2pfs.dht.kad.wire import Find
from p2pfs.dht.memorystore import MemoryRecordStore
from tests.dht.kad.nodes import LOOPBACK, contact, free_port, open_node, wait_until
from tests.sim.world import Node, World


@given(st.lists(st.binary(max_size=60)))
def test_saved_contacts_that_cannot_be_read_are_left_out(saved: list[bytes]) -> None:
    assert all(isinstance(address, Endpoint) for address in saved_addresses(saved))


async def test_contacts_are_kept_for_the_next_run() -> None:
    store = MemoryRecordStore()
    async with open_node() as (_, address):
        async with open_node(address, store=store) as (overlay, _):
            await wait_until(lambda: len(overlay.contacts()) == 1)
        assert list(saved_addresses(store.contacts())) == [address]
        async with open_node(store=store) as (overlay, _):
            await wait_until(lambda: len(overlay.contacts()) == 1)


async def test_what_the_lan_announces_is_joined() -> None:
    async with open_node() as (_, address), open_node() as (overlay, _):
        await overlay.wait_settled()
        await overlay.look_at(address)
        await wait_until(lambda: len(overlay.contacts()) == 1)


async def test_what_the_lan_announces_for_nothing_is_forgotten_after_a_few_knocks() -> None:
    async with open_node() as (overlay, _):
        await overlay.wait_settled()
        membership = overlay._membership
        for _ in range(100):
            await overlay.look_at(Endpoint(LOOPBACK, free_port()))
        assert len(membership._found) <= 64
        await wait_until(lambda: not membership._found and not membership._busy, 10)
        assert not membership._knocked


async def test_who_is_known_only_from_the_lan_is_marked_and_whom_the_user_named_is_not() -> None:
    async with (
        open_node() as (_, named),
        open_node() as (_, announced),
        open_node(named) as (overlay, _),
    ):
        await overlay.wait_settled()
        for address in (named, announced):
            await overlay.look_at(address)
        await wait_until(lambda: len(overlay.contacts()) == 2)
        assert list(overlay._server.announced) == [announced]


def test_of_all_that_the_lan_announces_the_latest_are_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2pfs.dht.kad.membership._MOST_ANNOUNCED", 3)
    announced = [Endpoint(LOOPBACK, 2_000 + number) for number in range(5)]

    async def scenario(node: Node) -> None:
        for address in announced:
            node.membership.look_at(address)

    with World(4) as world:
        world.run(world.grow(1))
        world.run(scenario(world.nodes[0]))
        assert list(world.nodes[0].server.announced) == announced[-3:]


def test_of_all_contacts_the_latest_seen_are_kept_for_this_run_and_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2pfs.dht.kad.membership._MOST_SAVED", 3)

    async def scenario(node: Node, others: Iterable[Node]) -> None:
        for each in others:
            await asyncio.sleep(1)
            await node.server.verify(each.address)

    with World(4) as world:
        world.run(world.grow(6))
        node, *others = world.nodes
        world.run(scenario(node, others))
        world.run(world.stop(node))
        latest = [each.address for each in others[:-4:-1]]
        assert list(saved_addresses(node.store.contacts())) == latest
        assert list(node.membership.known) == latest


async def test_all_that_has_expired_is_forgotten_a_little_at_a_time() -> None:
    class Full(MemoryRecordStore):
        left = 5

        def expire(self, _: int) -> int:
            self.left -= 1
            return max(0, self.left)

    store = Full()
    async with open_node(store=store):
        await wait_until(lambda: store.left == 0, 5)
        await trio.sleep(0.3)
        assert store.left == 0


def greet(node: Node, key: bytes, source: Endpoint) -> None:
    """Have somebody say that this is its key, without a proof."""
    node.membership.greet(Find(key=bytes(20), sender=key), source)


def asked_back(sources: Iterable[Endpoint]) -> set[Endpoint]:
    """Whom a node asks who they are that all greet it at once."""
    asked: set[Endpoint] = set()

    async def scenario(node: Node) -> None:
        for number, source in enumerate(sources):
            greet(node, contact(number).public_key, source)
        await asyncio.sleep(0.1)

    with World(4) as world:
        world.run(world.grow(1))
        world.internet.taps.append(lambda _data, _source, to: asked.add(to))
        world.run(scenario(world.nodes[0]))
    return asked


def test_of_a_flood_of_greetings_some_are_looked_at_at_once() -> None:
    assert len(asked_back(Endpoint(f"8.{number}.1.1", 7117) for number in range(100))) == 32


@pytest.mark.parametrize(("ip", "most"), [("8.8.8.8", 10), (LOOPBACK, 30)])
def test_of_greetings_of_one_far_ip_fewer_are_looked_at(ip: str, most: int) -> None:
    assert len(asked_back(Endpoint(ip, 2_000 + number) for number in range(30))) == most


def test_a_caller_that_could_not_be_listed_is_not_asked_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Table, "would_admit", lambda *_: False)
    assert asked_back([Endpoint("8.8.8.8", 7117)]) == set()


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "admit", lambda *_: False)


@pytest.mark.usefixtures("no_room")
def test_a_peer_that_is_well_and_finds_no_room_is_left_alone_for_ten_minutes() -> None:
    with World(4) as world:
        peer, node = world.create(), world.create()
        world.run(world.start(peer))
        world.run(world.start(node, [peer]))
        sent = []
        for seconds in (60, 500, 100):
            world.run(asyncio.sleep(seconds))
            sent.append(world.internet.traffic[node.address].sent)
        assert sent[0] == sent[1] < sent[2]


@pytest.mark.usefixtures("no_room")
def test_of_a_caller_that_finds_no_room_nothing_is_kept() -> None:
    async def scenario(node: Node, caller: Node) -> None:
        greet(node, caller.identity.public_key, caller.address)
        await asyncio.sleep(1)
        assert node.server.acquaintances.was_asked(caller.address)
        assert not node.membership._knocked

    with World(4) as world:
        world.run(world.grow(2))
        world.run(scenario(*world.nodes))
