"""A whole network of the real overlay code, on virtual time and an internet in memory.

Everything follows from one printed seed, the keys from a shipped file.  Who in it is hostile is
`adversaries`; what is measured, `bench.overlaycells`.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Self, TypeVar

from p2pfs.addresses import Endpoint, Neighbourhood, Scope, scope
from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.membership import Membership
from p2pfs.dht.kad.opening import begin, end
from p2pfs.dht.kad.server import Server
from p2pfs.dht.kad.settings import Settings
from p2pfs.dht.memorystore import MemoryRecordStore
from tests.sim.internet import Attachment, Internet, Latency, scattered
from tests.sim.keys import CHEAP, cheap_identity
from tests.sim.loop import VirtualLoop
from tests.sim.repairing import keep_repairing

if TYPE_CHECKING:
    from p2pfs.identity import Identity
    from p2pfs.network import Network

T = TypeVar("T")

# UNIX seconds when virtual time begins: some day, and always the same.
START = 1_800_000_000
UDP_PORT = 7117
# Far from every UDP port that is used here, as several nodes of one IP have several.
_HTTPS_ABOVE_UDP = 20_000
_LOGGERS = ("p2pfs", "asyncio")
# A newcomer is told of so many nodes by its user.
_PEERS = 3
# So many newcomers a second; more at once than there are members would find nobody settled.
_ARRIVALS_A_SECOND = 50
# Of new objects, between two looks for garbage: at Python's 700 they go through the whole world so
# often that it is a fifth of the time.  And between those at all of the world, of such looks: at
# Python's 10 times 10 they are another fifth of churn among stores that are full.
_COLLECT_AFTER = (50_000, 10, 40)


@dataclass(eq=False)
class Node:
    """One member: what it was made of, and while it runs, its parts."""

    identity: Identity
    address: Endpoint
    store: MemoryRecordStore = field(default_factory=MemoryRecordStore)
    server: Server = field(init=False)
    membership: Membership = field(init=False)
    living: asyncio.Task[None] | None = None
    repairing: asyncio.Task[None] | None = None
    page: Callable[[bytes, bytes], bytes] | None = None  # of a liar, in the place of its records
    dawdles: float = 0.0  # seconds more than others, before each answer over HTTPS

    @property
    def node_id(self) -> bytes:
        return self.server.own_id

    @property
    def https(self) -> Endpoint:
        return Endpoint(self.address.ip, self.address.port + _HTTPS_ABOVE_UDP)

    @property
    def runs(self) -> bool:
        return self.living is not None


class _Alarm(logging.Handler):
    """What a node in production would only log ends a simulation."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.rung: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.rung = self.rung or logging.Formatter().format(record)


class World:
    """A network of nodes, its clock and its dice; all methods but `run` are for its own tasks.

    To be used in a `with`, unless its process ends with it: tasks that are left behind complain.
    """

    def __init__(
        self,
        seed: int,
        *,
        k: int = 20,
        latency: Latency | None = None,
        loss: float = 0.0,
        network: Network = CHEAP,
        identity: Callable[[int], Identity] = cheap_identity,
        repairs: bool = False,
    ) -> None:
        self.seed, self.k, self.network = seed, k, network
        self.loop = VirtualLoop()
        self.random = Random(seed)
        self.internet = Internet(self.loop, self.random, latency or scattered(0.05), loss)
        self.repairs = repairs
        self.https_bytes = 0  # of repairs, by all nodes
        self._alarm = _Alarm()
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self._alarm)
        self.nodes: list[Node] = []
        # Asked for with every newcomer, when it would take 2 % of the time to look at all nodes.
        self._running: dict[Node, None] = {}
        self._by_https: dict[Endpoint, Node] = {}
        self._identities = map(identity, itertools.count(self.random.randrange(2**40)))
        self._ips = distinct_ips(self.random)

    def run(self, awaitable: Awaitable[T]) -> T:
        """What it returns or raises, once it has ended; the others stand still after that."""

        async def waited() -> T:
            return await awaitable

        with seldom_collecting():
            result = self.loop.run_until_complete(waited())
        assert self._alarm.rung is None, f"seed {self.seed}: {self._alarm.rung}"
        return result

    def clock(self) -> float:
        """UNIX seconds, virtual."""
        return START + self.loop.time()

    def create(self, address: Endpoint | None = None, identity: Identity | None = None) -> Node:
        """A node that does not run yet, with a key and an IP of its own in a /16 of its own."""
        address = address or Endpoint(self.fresh_ip(), UDP_PORT)
        node = Node(identity or next(self._identities), address)
        self.nodes.append(node)
        self._by_https[node.https] = node
        return node

    async def start(
        self,
        node: Node,
        peers: Iterable[Node] = (),
        *,
        server: bool | None = True,
        router: type[Attachment] = Attachment,
    ) -> None:
        """Run a node, with what its store holds of its last run; `server` as in `Settings`."""
        settings = Settings(
            node.identity,
            self.network,
            Neighbourhood(),
            node.https.port,
            node.store,
            tuple(peer.address for peer in peers),
            self.clock,
            self.loop.time,
            self.random,
            self.k,
            server,
        )
        node.server = Server(settings, router(self.internet, node.address))
        node.membership, node.living = await begin(node.server)
        self._running[node] = None
        if self.repairs:
            node.repairing = asyncio.create_task(keep_repairing(self, node))

    async def stop(self, node: Node) -> None:
        """As a user ends it: what it holds is kept in its store."""
        living, node.living = node.living, None
        self._running.pop(node, None)
        if node.repairing is not None:
            node.repairing.cancel()
        if living is not None:
            await end(node.server, living)

    def forget(self, node: Node) -> None:
        """Let go of a node that has ended for good, and of what it held."""
        assert node not in self._running
        node.store.clear()
        self.nodes.remove(node)
        del self._by_https[node.https]

    async def grow(self, count: int, settle: float = 60.0) -> None:
        """So many newcomers, one after the other, each told of some members; then a while."""
        for _ in range(count):
            await self.join()
        await asyncio.sleep(settle)

    async def join(
        self,
        address: Endpoint | None = None,
        identity: Identity | None = None,
        peers: Iterable[Node] | None = None,
    ) -> Node:
        """One newcomer, told of some members, and the moment until the next may come."""
        known = self.some_members() if peers is None else peers
        node = self.create(address, identity)
        await self.start(node, known)
        await asyncio.sleep(1 / _ARRIVALS_A_SECOND)
        return node

    def fresh_ip(self) -> str:
        """An IP of a /16 that nobody has."""
        return next(self._ips)

    def at(self, https: Endpoint) -> Node | None:
        """The node that runs there."""
        node = self._by_https.get(https)
        return node if node is not None and node.runs else None

    def members(self) -> list[Node]:
        """Those that run."""
        return list(self._running)

    def some_members(self) -> list[Node]:
        """Whom a newcomer is told of."""
        members = self.members()
        return self.random.sample(members, min(_PEERS, len(members)))

    async def stop_all(self) -> None:
        """End every node that runs."""
        for node in self.nodes:
            await self.stop(node)

    def close(self) -> None:
        """End all of it, and leave no task behind."""
        try:
            self.run(self.stop_all())
        finally:
            self.loop.run_until_complete(_cancelled(asyncio.all_tasks(self.loop)))
            self.loop.close()
            for name in _LOGGERS:
                logging.getLogger(name).removeHandler(self._alarm)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def closest(self, key: bytes, count: int, among: Sequence[Node] | None = None) -> list[Node]:
        """Those that run and truly are the closest to a key, as no node could know."""
        running = self.members() if among is None else among
        return sorted(running, key=lambda node: distance(node.node_id, key))[:count]


async def _cancelled(tasks: Iterable[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def seldom_collecting() -> Iterator[None]:
    usual = gc.get_threshold()
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def distinct_ips(random: Random) -> Iterator[str]:
    """Global IPv4 addresses in shuffled order, no two of one /16."""
    wide = [(first, second) for first in range(1, 224) for second in range(256)]
    random.shuffle(wide)
    for first, second in wide:
        ip = f"{first}.{second}.{random.randrange(256)}.{random.randrange(1, 255)}"
        if scope(ip) is Scope.GLOBAL:
            yield ip
