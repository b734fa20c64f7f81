"""What it takes to simulate a network of a thousand nodes, and of ten thousand."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from functools import partial

from bench.overlaycells.cells import Cell, Row, Scale, Tally
from bench.overlaycells.forks import forked
from tests.sim.world import World

# Whose neighbours are compared with the truth.
_SAMPLE = 100


def thousand(scale: Scale) -> Iterator[Row]:
    yield from _rows(scale, scale.network(1_000, 100), cpu_seconds=60, megabytes=1_000)


def ten_thousand(scale: Scale) -> Iterator[Row]:
    yield from _rows(scale, scale.network(10_000, 150), cpu_seconds=1_200, megabytes=4_096)


def _rows(scale: Scale, count: int, cpu_seconds: float, megabytes: float) -> Iterator[Row]:
    seed = scale.seeds[:1]
    seconds, size, tally = next(forked(partial(_grown, count), seed))
    yield Row(f"{count} nodes join and settle", "-", seconds, cpu_seconds, "s CPU", at_most=True)
    yield Row("their memory", "-", size, megabytes, "MB", at_most=True)
    yield tally.row("of the k closest to a node, in its table", "-", 0.999)


def _grown(count: int, seed: int) -> tuple[float, float, Tally]:
    """CPU seconds, resident MB at the most, and how many of their neighbours nodes know."""
    world, began = World(seed), time.process_time()
    world.run(world.grow(count))
    seconds = time.process_time() - began
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    known = 0
    sample = world.random.sample(world.nodes, min(_SAMPLE, count))
    for node in sample:
        right = world.closest(node.node_id, world.k + 1)[1:]
        known += sum(node.server.table.get(each.identity.public_key) is not None for each in right)
    return seconds, size, Tally(known, len(sample) * world.k)


CELLS = (Cell("thousand", thousand), Cell("ten-thousand", ten_thousand))
