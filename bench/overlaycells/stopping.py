"""What a cancelled lookup and a node that ends leave behind."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

from bench.overlaycells.cells import Cell, Row, Scale, grown
from bench.overlaycells.forks import forked
from p2pfs.dht.kad.protocol import Protocol
from tests.sim.world import World

_IN_FLIGHT = 100
_LONGEST_SECONDS = 0.3


def cancelled(scale: Scale) -> Iterator[Row]:
    count = scale.size(10_000, 1_000)
    left = sum(forked(lambda seed: _left(seed, count), scale.seeds[:1]))
    yield Row(f"tasks and calls left by {count} cancelled lookups", "leaks", left, 0, at_most=True)


def stopped(scale: Scale) -> Iterator[Row]:
    longest = max(forked(_seconds, scale.seeds, scale.jobs))
    yield Row(f"stop() with {_IN_FLIGHT} in flight", "leaks", longest, 1.0, "s", at_most=True)


def _left(seed: int, count: int) -> int:
    world = grown(World(seed, k=8, loss=0.05), 40)
    server = world.nodes[0].server

    async def cancel_one() -> None:
        lookup = asyncio.create_task(server.finder.lookup(world.random.randbytes(20)))
        await asyncio.sleep(world.random.random() * _LONGEST_SECONDS)
        lookup.cancel()
        await asyncio.gather(lookup, return_exceptions=True)

    async def experiment() -> int:
        before = len(asyncio.all_tasks())
        for _ in range(count // _IN_FLIGHT):
            await asyncio.gather(*(cancel_one() for _ in range(_IN_FLIGHT)))
        await asyncio.sleep(20)
        gc.collect()
        waiting = sum(node.server.protocol.open_calls for node in world.nodes)
        return waiting + max(0, len(asyncio.all_tasks()) - before)

    return world.run(experiment())


def _seconds(seed: int) -> float:
    """Virtual seconds or CPU seconds, whichever are more."""
    world = grown(World(seed, k=8), 40)
    node = world.nodes[0]

    async def experiment() -> float:
        keys = [world.random.randbytes(20) for _ in range(_IN_FLIGHT)]
        lookups = [asyncio.create_task(node.server.finder.lookup(key)) for key in keys]
        await asyncio.sleep(0.05)
        began, worked = world.loop.time(), time.process_time()
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        protocol: Protocol = node.server.protocol
        await world.stop(node)
        assert protocol.open_calls == 0
        return max(world.loop.time() - began, time.process_time() - worked)

    return world.run(experiment())


CELLS = (Cell("cancelled", cancelled), Cell("stop", stopped))
