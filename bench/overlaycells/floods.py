"""What a node can be made to send to somebody who never asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, TypedDict

import msgspec

from bench.overlaycells.cells import Cell, Row, Scale, chosen, grown
from bench.overlaycells.forks import forked
from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.referrals import pack_referrals
from p2pfs.dht.kad.wire import (
    MAX_FIRST_BYTES,
    MAX_MESSAGE_BYTES,
    Find,
    Get,
    Kind,
    Ping,
    Request,
    Store,
    encode_request,
)
from tests.sim.adversaries import corrupt
from tests.sim.world import World

if TYPE_CHECKING:
    from p2pfs.dht.kad.wire import Reply

_VICTIM = Endpoint("9.9.9.9", 7117)
# Datagrams in 5 min from one node to an address that never answers.
_MOST_FIRST = 3
_WINDOW_SECONDS = 300.0


class _Common(TypedDict):
    """What a request of any kind may carry."""

    token: bytes | None
    nonce: bytes | None
    sender: bytes | None


def amplification(scale: Scale) -> Iterator[Row]:
    """Requests of every kind and size in the name of a victim, and what the victim receives."""
    ratio = max(forked(_ratio, scale.seeds, scale.jobs))
    what = "bytes in replies to an unproven address per byte"
    yield Row(what, "10-770", ratio, 1.0, at_most=True)


def first_contacts(scale: Scale) -> Iterator[Row]:
    """A tenth of the nodes names a victim's address in every answer."""
    runs = list(forked(_knocks, scale.seeds, scale.jobs))
    most, longest = max(each[0] for each in runs), max(each[1] for each in runs)
    what = "datagrams to a silent address a node in 5 min"
    yield Row(what, "-", most, _MOST_FIRST, at_most=True)
    yield Row("the longest of them", "-", longest, MAX_FIRST_BYTES, "B", at_most=True)


def _ratio(seed: int) -> float:
    world = grown(World(seed, k=8), 20)
    worst = 0.0
    for request in _requests(world.random):
        for node in world.nodes[:5]:
            data = encode_request(world.random.randbytes(20), request)
            if len(data) > MAX_MESSAGE_BYTES:
                continue
            before = world.internet.sent_to[_VICTIM]
            world.internet.send(data, _VICTIM, node.address)
            world.run(asyncio.sleep(10))
            worst = max(worst, (world.internet.sent_to[_VICTIM] - before) / len(data))
    return worst


def _requests(random: Random) -> Iterator[Request]:
    yield Ping()
    for token in (None, random.randbytes(16)):
        for nonce in (None, random.randbytes(16)):
            for sender in (None, random.randbytes(32)):
                common: _Common = {"token": token, "nonce": nonce, "sender": sender}
                yield Ping(**common)
                yield Find(key=random.randbytes(20), **common)
                yield Get(key=random.randbytes(20), **common)
                yield Store(subject=b"x", value=b"y", **common)
                yield Store(subject=bytes(80), value=bytes(900), **common)


def _knocks(seed: int) -> tuple[int, int]:
    """The most datagrams that one node sent to the victim, and the longest of them."""
    world = grown(World(seed, k=8), 60)
    sent: Counter[Endpoint] = Counter()
    longest = 0

    def tap(data: bytes, source: Endpoint, to: Endpoint) -> None:
        nonlocal longest
        if to == _VICTIM and data[0] == Kind.REQUEST:
            sent[source] += 1
            longest = max(longest, len(data))

    def lie(request: Request, honest: Reply, _source: Endpoint) -> Reply:
        if not isinstance(request, Find):
            return honest
        named = [(world.random.randbytes(32), _VICTIM) for _ in range(8)]
        packed_4, packed_6 = pack_referrals(named)
        return msgspec.structs.replace(honest, referrals_4=packed_4, referrals_6=packed_6)

    world.internet.taps.append(tap)
    liars = chosen(world.random, world.nodes, 0.1)
    for liar in liars:
        corrupt(liar, lie)
    honest = [node for node in world.nodes if node not in liars]

    async def look_up_for(number: int) -> None:
        await asyncio.sleep(number)
        reader = honest[number % 3]  # few readers, many lookups
        await reader.server.finder.lookup(world.random.randbytes(20))

    async def experiment() -> None:
        began = world.loop.time()
        await asyncio.gather(*map(look_up_for, range(240)))
        assert world.loop.time() - began < _WINDOW_SECONDS

    world.run(experiment())
    return max(sent.values(), default=0), longest


CELLS = (Cell("amplification", amplification), Cell("first-contacts", first_contacts))
