"""Can records still be found when nodes come and go, and what does staying cost?"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from functools import partial

from bench.overlaycells.cells import Cell, Row, Scale, Tally, each_of, grown
from bench.overlaycells.forks import forked
from tests.sim.adversaries import churn
from tests.sim.records import publish, search, some_subject, stock
from tests.sim.world import World

# Median session in minutes, and the bar.
_SESSIONS = {60: 0.999, 15: 0.995, 5: 0.97}
# What staying may cost is promised for the longest.
_TRAFFIC_MINUTES = 60
# The share of leavers that return with their store, by what the cell is called after.
_RETURNING = {"": 0.0, "-half-return": 0.5}
_RECORDS = 100
_LOOK_EVERY_SECONDS = 900.0
# IPv4 and UDP.
_HEADER_BYTES = 28
_MOST_BYTES_A_SECOND = 1_000.0


def churning(minutes: int, returning: float, scale: Scale) -> Iterator[Row]:
    """Whoever published is gone soon, as the others are; what is stored must outlive them."""
    count, hours = scale.network(300, 100), scale.virtual_hours(6, 1)
    stored = scale.stored_bytes(1_000_000, 20_000)
    live = partial(_live, count, hours, minutes, returning)
    tally, bytes_a_second = next(forked(live, [(scale.seeds[0], stored)]))
    how = f"{minutes} min sessions, {returning:.0%} return"
    yield tally.row(f"record found, {how}, {hours} h, N={count}", "-", _SESSIONS[minutes])
    most = _MOST_BYTES_A_SECOND if minutes == _TRAFFIC_MINUTES else math.inf
    yield Row(f"traffic a node, {how}", "-", bytes_a_second, most, "B/s", at_most=True)


def _live(
    count: int, hours: int, minutes: int, returning: float, start: tuple[int, int]
) -> tuple[Tally, float]:
    """Searches that found, and bytes a second and node; `start`: seed, bytes stored a node."""
    seed, stored = start
    world = grown(World(seed, repairs=True), count)
    stock(world, stored, beginning=_RECORDS)

    async def find(number: int) -> bool:
        reader = world.random.choice(world.members())
        return bool(await search(world, reader, some_subject(number)))

    async def experiment() -> tuple[Tally, float]:
        publishers = world.random.choices(world.nodes, k=_RECORDS)
        for number, publisher in enumerate(publishers):
            await publish(world, publisher, some_subject(number))
        before, began = _sent(world), world.loop.time()
        going = asyncio.create_task(churn(world, list(world.nodes), minutes * 60, returning))
        tally = Tally()
        for _ in range(round(hours * 3_600 / _LOOK_EVERY_SECONDS)):
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            tally += Tally(sum(await each_of(range(_RECORDS), find)), _RECORDS)
        going.cancel()
        return tally, (_sent(world) - before) / (world.loop.time() - began) / count

    return world.run(experiment())


def _sent(world: World) -> int:
    every = world.internet.traffic.values()
    datagrams = sum(each.sent_bytes + each.sent * _HEADER_BYTES for each in every)
    return datagrams + world.https_bytes


CELLS = tuple(
    Cell(f"churn-{minutes}{name}", partial(churning, minutes, returning))
    for minutes in _SESSIONS
    for name, returning in _RETURNING.items()
)
