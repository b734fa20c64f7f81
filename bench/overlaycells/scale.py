"""What it takes to simulate a network of a thousand nodes, and of ten thousand."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench.overlaycells.cells import Cell, Row, Scale, Tally
from bench.overlaycells.forks import forked
from bench.overlaycells.routing import Recalled, recall_rows, recalled_in
from tests.sim.world import World

# Whose neighbours are compared with the truth.
_SAMPLE = 100


def thousand(scale: Scale) -> Iterator[Row]:
    """One seed: what is counted hardly differs between them."""
    count = scale.network(1_000, 100)
    cost = next(forked(partial(_grown, count), scale.seeds[:1]))
    yield from _rows(count, cost, cpu_seconds=60, megabytes=1_000)


def ten_thousand(scale: Scale) -> Iterator[Row]:
    """What it takes, and whether lookups in it are still exact."""
    count = scale.network(10_000, 150)

    def looked_up(seed: int) -> tuple[_Cost, Recalled]:
        world, cost = _grow(count, seed)
        return cost, recalled_in(world, scale.lookups)

    cost, recalled = next(forked(looked_up, scale.seeds[:1]))
    yield from _rows(count, cost, cpu_seconds=1_200, megabytes=4_096)
    yield from recall_rows(count, recalled)


@dataclass(frozen=True, slots=True)
class _Cost:
    """CPU seconds, resident MB at the most, and how many of their neighbours nodes know."""

    seconds: float
    megabytes: float
    neighbours: Tally


def _rows(count: int, cost: _Cost, cpu_seconds: float, megabytes: float) -> Iterator[Row]:
    yield Row(
        f"{count} nodes join and settle", "-", cost.seconds, cpu_seconds, "s CPU", at_most=True
    )
    yield Row(f"memory of {count} nodes", "-", cost.megabytes, megabytes, "MB", at_most=True)
    what = f"of the k closest to a node, in its table, N={count}"
    yield cost.neighbours.row(what, "-", 0.999)


def _grown(count: int, seed: int) -> _Cost:
    return _grow(count, seed)[1]


def _grow(count: int, seed: int) -> tuple[World, _Cost]:
    world, began = World(seed), time.process_time()
    world.run(world.grow(count))
    seconds = time.process_time() - began
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    known = 0
    sample = world.random.sample(world.nodes, min(_SAMPLE, count))
    for node in sample:
        right = world.closest(node.node_id, world.k + 1)[1:]
        known += sum(node.server.table.get(each.identity.public_key) is not None for each in right)
    return world, _Cost(seconds, size, Tally(known, len(sample) * world.k))


CELLS = (Cell("thousand", thousand), Cell("ten-thousand", ten_thousand))
