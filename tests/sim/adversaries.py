"""What hostile nodes of a simulated network do, and how the others come and go.

A hostile node is a real one whose answers are replaced: it joins, proves its key and stays in
tables like any other.  Colluders know each other, at no cost.  On the path between two others
nobody is.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.referrals import pack_referrals
from p2pfs.dht.kad.wire import Find, Get, Outcome, Reply, Request, Store
from p2pfs.dht.recordpages import encode_page
from p2pfs.dht.subjects import parse_subject
from p2pfs.network import PUBLIC_KEY_BYTES
from tests.sim.keys import cheap_identity_of
from tests.sim.records import provider_record
from tests.sim.world import UDP_PORT

if TYPE_CHECKING:
    from p2pfs.identity import Identity
    from tests.sim.world import Node, World

# A request, the honest reply to it, and who asks; what is answered instead, None for nothing.
Lie: TypeAlias = Callable[[Request, Reply, Endpoint], Reply | None]
# How those of a world misroute that turn hostile.
Misroute: TypeAlias = "Callable[[World, Sequence[Node]], Lie]"

# As many as a reply has room for, three referrals each.
_SLANDERED = 6
# As many records as two pages hold of what one holder may keep.
_A_PAGE = 128
_NOWHERE = Endpoint("3.250.1.1", UDP_PORT)


class Colluders:
    """Hostile nodes that know each other; `turn` makes a node that runs one of them."""

    def __init__(self, nodes: Sequence[Node] = ()) -> None:
        self._members: list[tuple[int, Node]] = []
        for node in nodes:
            self.join(node)

    @property
    def nodes(self) -> list[Node]:
        return [node for _, node in self._members]

    def join(self, node: Node) -> None:
        """Be named by the others from now on."""
        self._members += _by_id([node])

    def misroute(self, request: Request, honest: Reply, source: Endpoint) -> Reply:
        """To a find: the colluders nearest to the key, and never an honest node, nor a record."""
        if not isinstance(request, Find):
            return honest
        named = [
            (node.identity.public_key, node.address)
            for node in _nearest(self._members, request.key, 21)
            if node.address != source
        ]
        return _with_referrals(honest, named[:20])

    def hide(self, request: Request, honest: Reply, source: Endpoint) -> Reply:
        """Misroute, swallow what is stored, and know of no record."""
        return _claiming(request, self.misroute(request, honest, source), ())


def collude(_world: World, hostile: Sequence[Node]) -> Lie:
    """See `Colluders.misroute`."""
    return Colluders(hostile).misroute


def misplace(world: World, hostile: Sequence[Node]) -> Lie:
    """To a find: the honest nodes nearest to the key, each at three addresses where nobody is."""
    honest = _by_id(others(world, hostile))

    def lie(request: Request, reply: Reply, _source: Endpoint) -> Reply:
        if not isinstance(request, Find):
            return reply
        named = [
            (node.identity.public_key, Endpoint(f"{number}.250.1.1", UDP_PORT))
            for node in _nearest(honest, request.key, _SLANDERED)
            for number in range(3, 6)
        ]
        return _with_referrals(reply, named)

    return lie


def neighbour_with_nobody(world: World, hostile: Sequence[Node]) -> Lie:
    """To a find: three made-up keys in the /24 of each of the honest nodes nearest to the key."""
    honest = _by_id(others(world, hostile))

    def lie(request: Request, reply: Reply, _source: Endpoint) -> Reply:
        if not isinstance(request, Find):
            return reply
        named = []
        for node in _nearest(honest, request.key, _SLANDERED):
            narrow, _, _ = node.address.ip.rpartition(".")
            for number in range(250, 253):
                at = Endpoint(f"{narrow}.{number}", UDP_PORT)
                named.append((world.random.randbytes(PUBLIC_KEY_BYTES), at))
        return _with_referrals(reply, named)

    return lie


def others(world: World, hostile: Sequence[Node]) -> list[Node]:
    """The honest ones that run."""
    among = set(hostile)
    return [node for node in world.members() if node not in among]


def answer_falsely(random: Random) -> Lie:
    """Route honestly, but claim a thousand records, and send made-up ones."""

    def lie(request: Request, honest: Reply, _source: Endpoint) -> Reply:
        sent = 3 if isinstance(request, Get) else 0
        made_up = tuple(random.randbytes(200) for _ in range(sent))
        return _claiming(request, honest, made_up, 1_000)

    return lie


def boast(request: Request, honest: Reply, _source: Endpoint) -> Reply:
    """Route honestly, but claim a thousand records, all of them in pages."""
    return _claiming(request, honest, (), 1_000)


def endless_page(_subject: bytes, cursor: bytes) -> bytes:
    """A page of what is nobody's record, as a liar sends over HTTPS, and never the last."""
    return encode_page([bytes(200)], cursor + b"x")


def endless_records(world: World) -> Callable[[bytes, bytes], bytes]:
    """Pages of providers that are each signed by a key of their own, and never the last."""

    def page(subject: bytes, cursor: bytes) -> bytes:
        about = parse_subject(subject)
        signers = (cheap_identity_of(world.random.randbytes(32)) for _ in range(_A_PAGE))
        values = [provider_record(world, each, _NOWHERE, about) for each in signers]
        return encode_page(values, cursor + b"x")

    return page


def corrupt(node: Node, lie: Lie) -> None:
    """From now on the node answers by the lie whoever has a token."""
    honest = node.server.protocol.answer

    def answer(request: Request, source: Endpoint, length: int) -> Reply | None:
        reply = honest(request, source, length)
        if reply is None or reply.is_challenge:
            return reply
        return lie(request, reply, source)

    node.server.protocol.answer = answer


def ground_identities(key: bytes, count: int, tries: int, world: World) -> list[Identity]:
    """Keys whose ids lie close to `key`: the best of so many, as a grinder makes them."""
    made = (world.random.randbytes(32) for _ in range(tries))
    best = heapq.nsmallest(count, made, key=lambda each: distance(world.network.node_id(each), key))
    return [cheap_identity_of(each) for each in best]


async def crash(world: World, node: Node) -> None:
    """End a node without a word; others find out by its silence."""
    world.internet.detach(node.address)
    await world.stop(node)


async def churn(world: World, nodes: Sequence[Node], median: float, returning: float) -> None:
    """Let these nodes go and be replaced, for ever: sessions are exponential, `median` seconds.

    A share `returning` of them comes back with its store after a session's time; for the others
    a newcomer comes at once.  The network stays as large as it is.
    """

    async def live(node: Node) -> None:
        while True:
            await asyncio.sleep(_session(world.random, median))
            await crash(world, node)
            if world.random.random() < returning:
                stands_in = await _newcomer(world)
                await asyncio.sleep(_session(world.random, median))
                await crash(world, stands_in)
                world.forget(stands_in)
                await world.start(node, world.some_members())
            else:
                world.forget(node)
                node = await _newcomer(world)

    async with asyncio.TaskGroup() as living:
        for node in nodes:
            living.create_task(live(node))


async def _newcomer(world: World) -> Node:
    node = world.create()
    await world.start(node, world.some_members())
    return node


def _session(random: Random, median: float) -> float:
    return random.expovariate(math.log(2) / median)


def _by_id(nodes: Sequence[Node]) -> list[tuple[int, Node]]:
    return [(int.from_bytes(node.node_id, "big"), node) for node in nodes]


def _nearest(nodes: Sequence[tuple[int, Node]], key: bytes, count: int) -> list[Node]:
    """As `World.closest`, in an eighth of the time."""
    there = int.from_bytes(key, "big")
    return [node for _, node in heapq.nsmallest(count, nodes, key=lambda each: each[0] ^ there)]


def _claiming(request: Request, reply: Reply, values: tuple[bytes, ...], count: int = 0) -> Reply:
    """The reply of one that says it has so many records, sends these, and stores whatever comes."""
    if isinstance(request, Find):
        return msgspec.structs.replace(reply, count=count)
    if isinstance(request, Get):
        return msgspec.structs.replace(reply, values=values, more=count - len(values))
    if isinstance(request, Store):
        return msgspec.structs.replace(reply, outcome=Outcome.STORED)
    return reply


def _with_referrals(reply: Reply, named: list[tuple[bytes, Endpoint]]) -> Reply:
    packed_4, packed_6 = pack_referrals(named)
    return msgspec.structs.replace(reply, referrals_4=packed_4, referrals_6=packed_6)
