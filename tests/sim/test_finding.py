"""What a node's lookups show to whom, whom they find past made-up ids, what they leave behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from p2pfs.dht.kad.contacts import Contact, distance
from p2pfs.dht.kad.wire import Find, Get, Reply, Request
from tests.sim.adversaries import Colluders, corrupt, ground_identities
from tests.sim.records import publish, search, some_subject
from tests.sim.world import World

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint

SEED, K = 11, 8


@pytest.fixture(scope="module")
def grown() -> Iterator[World]:
    world = World(SEED, k=K)
    world.run(world.grow(80, settle=20))
    yield world
    world.close()


def test_hops_see_a_key_whose_last_bits_are_noise_and_only_holders_all_of_it(grown: World) -> None:
    subject, reader = some_subject(1), grown.nodes[5]
    grown.run(publish(grown, grown.nodes[9], subject))
    shown: list[tuple[type[Request], bytes, bytes]] = []
    for node in grown.nodes:

        def lie(request: Request, honest: Reply, _: Endpoint, own: bytes = node.node_id) -> Reply:
            if isinstance(request, Find | Get):
                shown.append((type(request), request.key, own))
            return honest

        corrupt(node, lie)
    assert len(grown.run(search(grown, reader, subject))) == 1
    reach = reader.server.finder.estimate.reach
    assert reach is not None
    finds = {key for kind, key, _ in shown if kind is Find}
    assert subject.key not in finds
    assert all(distance(key, subject.key) < reach >> 8 for key in finds)
    closest = [node.node_id for node in grown.closest(subject.key, K + 1)]
    asked = {own for kind, key, own in shown if kind is Get and key == subject.key}
    assert len(asked & set(closest)) >= K
    assert len(asked) < 3 * K


def test_past_ids_that_were_made_for_a_key_the_honest_keep_its_records(grown: World) -> None:
    subject = some_subject(2)
    colluders = Colluders()
    honest = list(grown.nodes)

    async def surround() -> None:
        for own in ground_identities(subject.key, 2 * K, 5_000, grown):
            node = await grown.join(identity=own)
            colluders.join(node)
            corrupt(node, colluders.hide)
        await asyncio.sleep(60)

    grown.run(surround())
    publisher, reader = honest[3], honest[40]
    lookup = grown.run(reader.server.finder.lookup(subject.key))
    made = {node.identity.public_key for node in colluders.nodes}
    assert {each.public_key for each in lookup.closest()} <= made
    assert grown.run(publish(grown, publisher, subject)) > K
    assert len(grown.run(search(grown, reader, subject))) == 1


def test_a_cancelled_lookup_leaves_nothing_behind(grown: World) -> None:
    server, dice = grown.nodes[7].server, random.Random(SEED)

    async def cancel() -> int:
        before = asyncio.all_tasks()
        for _ in range(20):
            looking = asyncio.create_task(server.finder.holders(dice.randbytes(20), K))
            await asyncio.sleep(dice.uniform(0, 0.3))
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks() - before) + server.protocol.open_calls

    assert grown.run(cancel()) == 0


def test_whoever_is_surely_among_the_closest_is_told_of_before_the_lookup_ends(
    grown: World,
) -> None:
    server, told = grown.nodes[30].server, []

    async def look() -> list[Contact]:
        loop = asyncio.get_running_loop()
        found = await server.finder.holders(
            some_subject(3).key, K, lambda contact: told.append((contact, loop.time()))
        )
        told.append((None, loop.time()))
        return found

    found = grown.run(look())
    ended = told.pop()[1]
    assert set(found) <= {contact for contact, _ in told}
    assert len({contact for contact, _ in told}) == len(told)
    assert min(at for _, at in told) < ended
