"""Are the right records found among nodes that lie about records?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

from bench.overlaycells.cells import Cell, Row, Scale, Tally, chosen, each_of, grown
from bench.overlaycells.forks import forked
from tests.sim.adversaries import Colluders, answer_falsely, boast, corrupt, endless_page
from tests.sim.records import publish, search, some_subject
from tests.sim.world import Node, World

# Share of liars, the stock package's figure, the bar.
_LYING = ((0.1, ".592", 0.999), (0.2, ".500", 0.995), (0.3, ".325", 0.99))


def _falsely(world: World, liars: list[Node]) -> None:
    """Half of them by datagram, where one wrong word ends the talk, half in pages."""
    for number, liar in enumerate(liars):
        corrupt(liar, boast if number % 2 else answer_falsely(world.random))
        liar.page = endless_page


def _hiding(_world: World, liars: list[Node]) -> None:
    colluders = Colluders(liars)
    for liar in liars:
        corrupt(liar, colluders.hide)


_KINDS = {"answer falsely": _falsely, "hide and misroute": _hiding}


def record_liars(scale: Scale) -> Iterator[Row]:
    """Liars there are before the record is published, in tables built among honest nodes."""
    count = scale.network(1_000, 150)
    cases = list(itertools.product(_KINDS, range(len(_LYING))))
    tallies = [Tally()] * len(cases)
    for of_seed in forked(partial(_found, scale, count, cases), scale.seeds, scale.jobs):
        tallies = [one + other for one, other in zip(tallies, of_seed, strict=True)]
    for tally, (kind, which) in zip(tallies, cases, strict=True):
        share, stock, bar = _LYING[which]
        yield tally.row(f"right records, {share:.0%} {kind}, N={count}", stock, bar)


def _found(scale: Scale, count: int, cases: list[tuple[str, int]], seed: int) -> list[Tally]:
    world = grown(World(seed), count)

    def lie(case: tuple[str, int]) -> Tally:
        kind, which = case
        liars = chosen(world.random, world.nodes, _LYING[which][0])
        _KINDS[kind](world, liars)
        honest = [node for node in world.nodes if node not in liars]
        found = world.run(each_of(range(scale.lookups), partial(_is_found, world, honest)))
        return Tally(sum(found), scale.lookups)

    return list(forked(lie, cases))


async def _is_found(world: World, honest: list[Node], number: int) -> bool:
    publisher, reader = world.random.sample(honest, 2)
    subject = some_subject(number)
    await publish(world, publisher, subject)
    return len(await search(world, reader, subject)) == 1


CELLS = (Cell("record-liars", record_liars),)
