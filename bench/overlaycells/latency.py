"""How long a lookup takes when many contacts are dead, in virtual seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from bench.overlaycells.cells import Cell, Row, Scale, chosen, each_of, grown, median_row
from bench.overlaycells.forks import forked
from tests.sim.adversaries import crash
from tests.sim.internet import steady
from tests.sim.world import World

if TYPE_CHECKING:
    from tests.sim.world import Node

_ROUND_TRIP_SECONDS = 0.05
# Share of dead contacts, the stock package's figure, the bar in seconds.
_DEAD = ((0.1, "5 s", 0.6), (0.3, "15 s", 1.0), (0.5, "-", 2.0))
# Tokens are let go after 270 s.
_COLD_SECONDS = 300.0


def dead_contacts(scale: Scale) -> Iterator[Row]:
    """Nobody has noticed yet who is dead, and every token has expired."""
    count = scale.network(1_000, 150)
    values: list[list[float]] = [[] for _ in _DEAD]
    for of_seed in forked(partial(_seconds, scale, count), scale.seeds, scale.jobs):
        for all_of, some in zip(values, of_seed, strict=True):
            all_of += some
    for seconds, (share, stock, bar) in zip(values, _DEAD, strict=True):
        yield median_row(f"lookup p50, {share:.0%} dead, N={count}", stock, seconds, bar, "s")


def _seconds(scale: Scale, count: int, seed: int) -> list[list[float]]:
    world = grown(World(seed, latency=steady(_ROUND_TRIP_SECONDS)), count)
    world.run(asyncio.sleep(_COLD_SECONDS))

    def die(share: float) -> list[float]:
        async def experiment() -> list[float]:
            for node in chosen(world.random, world.nodes, share):
                await crash(world, node)
            # Each looks up once: the second time it knows better.
            readers = world.members()[: scale.lookups]
            return await each_of(readers, partial(_timed, world))

        return world.run(experiment())

    return list(forked(die, (share for share, *_ in _DEAD)))


async def _timed(world: World, reader: Node) -> float:
    began = world.loop.time()
    await reader.server.finder.lookup(world.random.randbytes(20))
    return world.loop.time() - began


CELLS = (Cell("dead-contacts", dead_contacts),)
