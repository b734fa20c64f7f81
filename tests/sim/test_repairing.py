"""Records outlive all who held them at first, and only where neighbours repair."""

from __future__ import annotations

import asyncio

import pytest

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
    world = World(SEED, k=8, repairs=repairs)
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
    world.close()
    assert share == 1 if repairs else share < 0.5
