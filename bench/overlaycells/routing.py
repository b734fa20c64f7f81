"""Is the right node found among misrouters, and how exact are honest lookups?"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from bench.overlaycells.cells import Cell, Row, Scale, Tally, chosen, each_of, grown
from bench.overlaycells.forks import forked
from p2pfs.dht.kad.referrals import parse_referral, parse_referrals
from p2pfs.dht.kad.wire import HEADER_BYTES, Kind, parse_reply
from p2pfs.errors import MalformedError
from tests.sim.adversaries import (
    Colluders,
    collude,
    corrupt,
    misplace,
    neighbour_with_nobody,
    others,
)
from tests.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.addresses import Endpoint
    from tests.sim.adversaries import Misroute
    from tests.sim.world import Node

# Share of misrouters, the stock package's figure among colluders, the bars: turned hostile, hostile
# from birth.
_MISROUTING = (
    (0.1, ".967", 0.999, 0.999),
    (0.2, ".873", 0.999, 0.99),
    (0.3, ".700", 0.99, 0.95),
    (0.5, ".287", 0.90, 0.80),
)
# What those do that turn hostile, and what the rows call it.
_WAYS: dict[Misroute, str] = {
    collude: "turned hostile",
    misplace: "name the honest where nobody is",
    neighbour_with_nobody: "name nobody in honest /24s",
}
_KS = (8, 20)
_FOUNDERS = 4


@dataclass(frozen=True, slots=True)
class Recalled:
    """Of the k closest, how many were found; the longest chain of referrals of each lookup."""

    hits: Tally = field(default_factory=Tally)
    chains: tuple[int, ...] = ()

    def __add__(self, other: Recalled) -> Recalled:
        return Recalled(self.hits + other.hits, self.chains + other.chains)


def misrouting(scale: Scale) -> Iterator[Row]:
    """Nodes turn hostile after tables were built among honest ones."""
    count = scale.network(1_500, 200)
    cases = list(itertools.product(_WAYS, _MISROUTING))
    turns = [(way, share) for way, (share, *_) in cases]
    for k in _KS[:1] if scale.small else _KS:
        tallies = [Tally()] * len(cases)
        for of_seed in forked(partial(turned, scale, count, k, turns), scale.seeds, scale.jobs):
            tallies = [one + other for one, other in zip(tallies, of_seed, strict=True)]
        for tally, (way, (share, stock, bar, _)) in zip(tallies, cases, strict=True):
            what = f"right node, {share:.0%} {_WAYS[way]}, k={k}, N={count}"
            yield tally.row(what, stock if way is collude else "-", bar)


def from_birth(scale: Scale) -> Iterator[Row]:
    """Colluders join, refresh and are met like all others, and have always lied.

    Of the three members that a newcomer's user names, one at least is honest: who is told of
    hostile ones alone is lost, whatever the overlay does, as the docs say.
    """
    count = scale.network(1_500, 150)
    for k, (share, _, _, bar) in itertools.product(_KS[:1] if scale.small else _KS, _MISROUTING):
        runs = forked(partial(_born, scale, count, k, share), scale.seeds, scale.jobs)
        tally = sum(runs, Tally())
        yield tally.row(f"right node, {share:.0%} hostile from birth, k={k}, N={count}", "-", bar)


def recall(scale: Scale) -> Iterator[Row]:
    """All honest: are the 20 closest found, and over how many referrals?"""
    count = scale.network(1_000, 200)
    runs = forked(partial(_exact, scale, count), scale.seeds, scale.jobs)
    yield from recall_rows(count, sum(runs, Recalled()))


def recall_rows(count: int, recalled: Recalled) -> Iterator[Row]:
    """In networks of so many nodes."""
    yield recalled.hits.row(f"recall of the 20 closest, N={count}", ".78", 0.999)
    chains, bar = recalled.chains, math.log2(count) / 2 + 1
    what = f"referral chain to the k closest, N={count} ({len(chains)})"
    mean = sum(chains) / len(chains)
    yield Row(what, "-", mean, round(bar, 2), "hops", max(chains), at_most=True)


def turned(
    scale: Scale, count: int, k: int, turns: Sequence[tuple[Misroute, float]], seed: int
) -> list[Tally]:
    """Right nodes found where a share of a network turns hostile, each time from the beginning."""
    world = grown(World(seed, k=k), count)

    def turn(case: tuple[Misroute, float]) -> Tally:
        way, share = case
        hostile = chosen(world.random, world.nodes, share)
        lie = way(world, hostile)
        for node in hostile:
            corrupt(node, lie)
        return _right_nodes(world, hostile, scale.lookups)

    return list(forked(turn, turns))


def _born(scale: Scale, count: int, k: int, share: float, seed: int) -> Tally:
    world, colluders = World(seed, k=k), Colluders()

    async def grow() -> None:
        honest: list[Node] = []
        for number in range(count):
            friends = world.random.sample(honest, min(1, len(honest)))
            node = await world.join(peers=[*friends, *world.some_members()[:2]])
            # The first few are honest: without them there would be no network to attack.
            if number >= _FOUNDERS and world.random.random() < share * count / (count - _FOUNDERS):
                colluders.join(node)
                corrupt(node, colluders.misroute)
            else:
                honest.append(node)
        await asyncio.sleep(60)

    world.run(grow())
    return _right_nodes(world, colluders.nodes, scale.lookups)


def _right_nodes(world: World, hostile: Sequence[Node], lookups: int) -> Tally:
    """How often an honest node finds another honest one by its id."""
    honest = others(world, hostile)
    pairs = [world.random.sample(honest, 2) for _ in range(lookups)]

    async def is_found(pair: list[Node]) -> bool:
        reader, wanted = pair
        found = (await reader.server.finder.lookup(wanted.node_id)).closest()
        return wanted.identity.public_key in {contact.public_key for contact in found}

    return Tally(sum(world.run(each_of(pairs, is_found))), lookups)


def _exact(scale: Scale, count: int, seed: int) -> Recalled:
    return recalled_in(grown(World(seed), count), scale.lookups)


def recalled_in(world: World, lookups: int) -> Recalled:
    """Of so many lookups, of a reader each: a tap cannot tell two of one reader apart."""
    readers = world.random.sample(world.nodes, min(lookups, len(world.nodes)))

    async def look(reader: Node) -> Recalled:
        key, chains = world.random.randbytes(20), _Chains(world, reader)
        found = (await reader.server.finder.lookup(key)).closest()
        chains.close()
        right = [node for node in world.closest(key, world.k + 1) if node is not reader]
        wanted = {node.identity.public_key for node in right[: world.k]}
        given = {contact.public_key for contact in found}
        longest = max(chains.length(contact.endpoint) for contact in found)
        return Recalled(Tally(len(wanted & given), world.k), (longest,))

    return sum(world.run(each_of(readers, look)), Recalled())


class _Chains:
    """Listens to a reader's replies: over how many referrals it came to hear of an address."""

    def __init__(self, world: World, reader: Node) -> None:
        self._taps, self._reader = world.internet.taps, reader.address
        self._lengths: dict[Endpoint, int] = {}
        self._taps.append(self._hear)

    def length(self, address: Endpoint) -> int:
        """0 for whom it knew before."""
        return self._lengths.get(address, 0)

    def close(self) -> None:
        self._taps.remove(self._hear)

    def _hear(self, data: bytes, source: Endpoint, to: Endpoint) -> None:
        if to != self._reader:
            if source == self._reader and data[0] == Kind.REQUEST:
                self._lengths.setdefault(to, 0)
            return
        if data[0] != Kind.REPLY or len(data) <= HEADER_BYTES:
            return
        try:
            referrals = parse_referrals(parse_reply(data), parse_referral)
        except MalformedError:
            return
        for _, address in referrals:
            self._lengths.setdefault(address, self.length(source) + 1)


CELLS = (
    Cell("misrouting", misrouting),
    Cell("from-birth", from_birth),
    Cell("recall", recall),
)
