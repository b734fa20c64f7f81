"""What a cell of the table is: how large it runs, and the rows it yields."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.sim.world import Node, World

T = TypeVar("T")
R = TypeVar("R")

# The normal quantile of a one-sided 95 %.
_Z = 1.645
# So many at once: enough that virtual time hardly passes, few enough that nobody's rate is felt.
_AT_ONCE = 25


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a cell runs, and in how many processes.

    `nodes`, `hours` and `stored` (bytes a node, under churn) are those of every network, if given.
    """

    seeds: tuple[int, ...]
    lookups: int
    small: bool
    jobs: int
    nodes: int | None = None
    hours: int | None = None
    stored: int | None = None

    def size(self, full: int, small: int) -> int:
        """The one or the other."""
        return small if self.small else full

    def network(self, full: int, small: int) -> int:
        """How many nodes a cell's network has."""
        return self.nodes or self.size(full, small)

    def virtual_hours(self, full: int, small: int) -> int:
        """For how long a cell watches its network."""
        return self.hours or self.size(full, small)

    def stored_bytes(self, full: int, small: int) -> int:
        """How much each node of a network under churn holds for others."""
        return self.stored or self.size(full, small)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside the stock package's and its bar; `bound` is the worse 95 % bound."""

    what: str
    stock: str
    value: float
    bar: float
    unit: str = ""
    bound: float | None = None
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return self.value <= self.bar if self.at_most else self.value >= self.bar


@dataclass(frozen=True, slots=True)
class Cell:
    """`run(scale)` yields its rows as they are known."""

    name: str
    run: Callable[[Scale], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Tally:
    """Hits of tries; sums over seeds."""

    hits: int = 0
    tries: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.hits + other.hits, self.tries + other.tries)

    def row(self, what: str, stock: str, bar: float) -> Row:
        share = self.hits / self.tries
        return Row(f"{what} ({self.tries})", stock, share, bar, bound=self.lower())

    def lower(self) -> float:
        """Wilson's one-sided lower bound, which holds near 1 too."""
        share, tries = self.hits / self.tries, self.tries
        centre = share + _Z**2 / (2 * tries)
        spread = _Z * math.sqrt(share * (1 - share) / tries + _Z**2 / (4 * tries**2))
        return (centre - spread) / (1 + _Z**2 / tries)


def median_row(what: str, stock: str, values: Iterable[float], bar: float, unit: str) -> Row:
    """The median, at most `bar`; 95 % of such medians are below the order statistic beside it."""
    ordered = sorted(values)
    count = len(ordered)
    above = min(count - 1, math.ceil(count / 2 + _Z * math.sqrt(count) / 2))
    middle = ordered[count // 2]
    return Row(f"{what} ({count})", stock, middle, bar, unit, ordered[above], at_most=True)


async def each_of(items: Iterable[T], act: Callable[[T], Coroutine[Any, Any, R]]) -> list[R]:
    """`act` on all items, some at once; what it returned, in their order."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> R:
        async with room:
            return await act(item)

    return await asyncio.gather(*(one(item) for item in items))


def chosen(random: Random, nodes: list[Node], share: float) -> list[Node]:
    """So many of the nodes, at random."""
    return random.sample(nodes, round(share * len(nodes)))


def grown(world: World, count: int) -> World:
    """The world with so many honest nodes, settled."""
    world.run(world.grow(count))
    return world
