"""Records outlive all who held them at first, and only where neighbours repair."""

from __future__ import annotations

import asyncio

import pytest

from p2pfs.dht.kad.repairing import Repair, Round
from tests.sim.adversaries import crash
from tests.sim.records import publish, some_subject
from tests.sim.world import World

SEED = 3
_RECORDS = 20


def held(world: World, number: int) -> bool:
    """Whether one of the closest nodes has it."""
    key, now = some_subject(number).key, int(world.clock())
    return any(node.store.count(key, now) for node in world.closest(key, world.k))


@pytest.mark.sim
@pytest.mark.parametrize("repairs", [True, False])
def test_records_outlive_those_who_held_them(repairs: bool) -> None:
    with World(SEED, k=8, repairs=repairs) as world:
        world.run(world.grow(40))

        async def scenario() -> float:
            for number in range(_RECORDS):
                await publish(world, world.random.choice(world.nodes), some_subject(number))
            for _ in range(40):  # all of them, one after another
                await world.stop(world.members()[0])
                await world.start(world.create(), world.some_members())
                await asyncio.sleep(60)
            return sum(held(world, number) for number in range(_RECORDS)) / _RECORDS

        share = world.run(scenario())
    assert share == 1 if repairs else share < 0.5


@pytest.mark.sim
def test_neighbours_that_dawdle_keep_nobody_from_what_others_hold() -> None:
    with World(SEED, k=8) as world:
        world.run(world.grow(3, settle=20))
        world.run(publish(world, world.nodes[0], some_subject(1)))
        world.repairs, newcomer = True, world.create()
        own_id = world.network.node_id(newcomer.identity.public_key)
        holder, *dawdling = world.closest(own_id, 3)
        for node in dawdling:  # they are asked before the nearest
            node.dawdles = 1e6

        async def scenario() -> None:
            await world.start(newcomer, [holder])
            await asyncio.sleep(1_500)

        world.run(scenario())
        assert newcomer.store.count(some_subject(1).key, int(world.clock()))


@pytest.mark.sim
def test_those_who_left_without_a_word_are_not_compared_with() -> None:
    world = World(SEED, k=8)
    world.run(world.grow(30))
    own = world.nodes[0]
    repair = Repair(own.server)
    leaving = world.closest(own.node_id, 9)[1:6]

    async def scenario() -> Round:
        await repair.next_round()
        for node in leaving:
            await crash(world, node)
        await asyncio.sleep(60)
        return await repair.next_round()

    coming = world.run(scenario())
    world.close()
    assert len(coming.neighbours) == 3
    assert not {each.node_id for each in coming.neighbours} & {node.node_id for node in leaving}
    assert coming.pause == 60


@pytest.mark.sim
def test_a_node_that_is_cut_off_does_not_think_that_all_have_left() -> None:
    world = World(SEED, k=8)
    world.run(world.grow(30))
    own = world.nodes[0]
    repair = Repair(own.server)

    async def scenario() -> tuple[float, float]:
        await repair.next_round()
        await asyncio.sleep(600)
        before = await repair.next_round()
        world.internet.part(set(), {own.address.ip})
        return before.pause, (await repair.next_round()).pause

    before, cut_off = world.run(scenario())
    world.close()
    assert before == cut_off > 600
