"""Can 20 ids that were ground against a key keep its records from being found?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from bench.overlaycells.cells import Cell, Row, Scale, Tally, grown
from bench.overlaycells.forks import forked
from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.contacts import distance
from tests.sim.adversaries import Colluders, corrupt, ground_identities
from tests.sim.records import publish, search, some_subject
from tests.sim.world import UDP_PORT, World

if TYPE_CHECKING:
    from p2pfs.dht.kad.wire import Reply, Request
    from tests.sim.world import Node

_GROUND = 20
# A blink of a native grinder; ids so close that no honest node of such a network is among them.
_TRIES = 20_000
# The attackers join, and are met; then the record is published.
_SETTLE_SECONDS = 60.0
_FAR = 1 << 153
# From where they come, and the bar.
_WHENCE = (("one IP", 1.0), ("one /24", 1.0), ("20 distinct /16", 0.95))
# A network bears so many attacks at once: each lies about its own key only.
_KEYS_A_WORLD, _KEYS_A_SMALL_WORLD = 5, 2


def eclipse(scale: Scale) -> Iterator[Row]:
    """Attackers swallow what is stored, know of nothing, and name only each other near the key."""
    count = scale.network(1_000, 150)
    tallies = [Tally()] * len(_WHENCE)
    for of_seed in forked(partial(_found, scale, count), scale.seeds, scale.jobs):
        tallies = [one + other for one, other in zip(tallies, of_seed, strict=True)]
    for tally, (whence, bar) in zip(tallies, _WHENCE, strict=True):
        yield tally.row(f"record found, 20 ids ground from {whence}, N={count}", "0", bar)


def _found(scale: Scale, count: int, seed: int) -> list[Tally]:
    world = grown(World(seed), count)
    honest = list(world.nodes)
    # As each key costs a crowd of attackers, far fewer are tried than lookups elsewhere.
    at_once = scale.size(_KEYS_A_WORLD, _KEYS_A_SMALL_WORLD)
    keys = max(at_once, scale.lookups // 20)

    def attack(case: tuple[str, int]) -> Tally:
        whence, first = case
        numbers = range(first, first + at_once)

        async def experiment() -> int:
            for number in numbers:
                await _surround(world, some_subject(number).key, whence)
            await asyncio.sleep(_SETTLE_SECONDS)
            return sum([await _is_found(world, honest, number) for number in numbers])

        return Tally(world.run(experiment()), at_once)

    return [
        sum(forked(attack, [(whence, first) for first in range(0, keys, at_once)]), Tally())
        for whence, _ in _WHENCE
    ]


async def _surround(world: World, key: bytes, whence: str) -> None:
    colluders = Colluders()

    def lie(request: Request, honest: Reply, source: Endpoint) -> Reply:
        near = hasattr(request, "key") and distance(request.key, key) < _FAR
        about = near or hasattr(request, "subject")
        return colluders.hide(request, honest, source) if about else honest

    for number, identity in enumerate(ground_identities(key, _GROUND, _TRIES, world)):
        node = await world.join(_address(world, whence, number), identity)
        colluders.join(node)
        corrupt(node, lie)


def _address(world: World, whence: str, number: int) -> Endpoint:
    fresh = world.fresh_ip() if number == 0 or whence == "20 distinct /16" else None
    if fresh is not None:
        return Endpoint(fresh, UDP_PORT)
    first = world.nodes[-number].address
    if whence == "one IP":
        return Endpoint(first.ip, UDP_PORT + number)
    network, _, host = first.ip.rpartition(".")
    return Endpoint(f"{network}.{(int(host) + number) % 256}", UDP_PORT)


async def _is_found(world: World, honest: list[Node], number: int) -> bool:
    publisher, reader = world.random.sample(honest, 2)
    await publish(world, publisher, some_subject(number))
    return bool(await search(world, reader, some_subject(number)))


CELLS = (Cell("eclipse", eclipse),)
