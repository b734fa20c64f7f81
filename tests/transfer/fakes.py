"""A file, an object that holds it in memory, and a client whose peers are numbers.

The fakes keep the promises of `store.object` and `peers.client`: content lands in order, in whole
leaves and only if it is right; nodes are known before what is below them; errors are the same.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

import trio

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import RAW, Cid, block_matches
from p2pfs.content.intervals import Intervals
from p2pfs.content.unixfs import parse_file
from p2pfs.content.walk import Leaf, leaves, walk
from p2pfs.dht.overlay import Provider
from p2pfs.errors import NoSpaceError, NotFoundError
from p2pfs.peers.errors import (
    PeerBusyError,
    PeerLacksError,
    PeerSilentError,
    PeerUnavailableError,
    WrongBlockError,
)
from p2pfs.peers.ledger import Ledger
from p2pfs.store.presence import Presence
from p2pfs.store.room import Claim
from tests.content.dags import Dag, balanced

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from p2pfs.content.unixfs import FileNode
    from p2pfs.content.walk import Gap, Want
    from p2pfs.peers.ledger import PeerStats
    from p2pfs.peers.receiving import Sink
    from p2pfs.transfer.search import FindProviders

KIB, MIB = 1024, 1024 * 1024
SILENCE_SECONDS = 5.0


@cache
def file_of(size: int, chunk_bytes: int = 256 * KIB) -> tuple[Dag, bytes]:
    content = random.Random(size).randbytes(size)
    return balanced(content, chunk_bytes, 174), content


class FakeRoom:
    """`store.room.Room` with room for everything, or for what readers wait for alone."""

    def __init__(self, *, is_tight: bool = False) -> None:
        self.quota = 1 << 40
        self.is_tight = is_tight
        self.freed: list[int] = []
        self.frees: FakeObject | None = None
        """Whose disk has room again once something was evicted."""

    def claim(self, size: int) -> nullcontext[Claim]:
        return nullcontext(Claim(size))

    async def make(self) -> bool:
        await trio.lowlevel.checkpoint()
        return not self.is_tight

    async def force(self) -> bool:
        return await self.make()

    async def free(self, size: int) -> bool:
        await trio.lowlevel.checkpoint()
        self.freed.append(size)
        if self.frees is not None:
            self.frees.is_full = False
        return self.frees is not None


class FakeCopies:
    """`store.copies.Copies` over a dict of the blocks that other contents hold."""

    def __init__(self, blocks: Mapping[Cid, bytes] | None = None) -> None:
        self.blocks = dict(blocks or {})
        self.rotten: set[Cid] = set()
        self.seek_seconds = self.read_seconds = 0.001
        self.seeks: list[int] = []
        self.reads = 0

    async def find(self, cids: Collection[Cid], of: Cid) -> set[Cid]:
        self.seeks.append(len(cids))
        await trio.sleep(self.seek_seconds)
        return (self.blocks.keys() & cids) - {of}

    async def size(self, cid: Cid) -> int | None:
        await trio.lowlevel.checkpoint()
        return len(self.blocks[cid]) if cid in self.blocks else None

    async def read(self, cid: Cid) -> bytes:
        self.reads += 1
        await trio.sleep(self.read_seconds)
        if cid in self.rotten:
            raise NotFoundError(f"{cid} is not here")
        return self.blocks[cid]


class FakeObject:
    """`store.object.Object` in memory."""

    def __init__(self, dag: Dag) -> None:
        self.cid, self.size = dag.root, dag.size
        self.presence = Presence(dag.size)
        self.checked = Intervals()
        self.content = bytearray(dag.size)
        self.is_full = False
        self.thread_reads = 0
        self._nodes: dict[Cid, FileNode] = {}

    @property
    def present(self) -> Intervals:
        return self.presence.present

    def abandon(self, spans: Iterable[tuple[int, int]]) -> None:
        self.presence.abandon(spans)

    def node(self, cid: Cid) -> FileNode | None:
        return self._nodes.get(cid)

    def leaves(self, start: int, stop: int) -> Iterator[Leaf | Gap]:
        return leaves(self.cid, self.size, start, stop, self._nodes.get)

    async def keep_nodes(self, nodes: Sequence[tuple[Cid, bytes]]) -> None:
        for cid, block in nodes:
            self._nodes[cid] = parse_file(cid, block)
        await trio.lowlevel.checkpoint()

    def write(self, start: int, data: memoryview) -> None:
        if self.is_full:
            raise NoSpaceError("the disk that holds the cache is full")
        self.content[start : start + len(data)] = data

    def landed(self, start: int, stop: int) -> None:
        self.checked.add(start, stop)
        self.presence.add(start, stop)

    async def check(self, start: int, stop: int) -> None:
        await trio.sleep(0.001)
        for gap in self.checked.gaps(start, stop):
            for begin, end in self.present.overlaps(*gap):
                for leaf in self.leaves(begin, end):
                    right = isinstance(leaf, Leaf) and block_matches(
                        leaf.cid, bytes(self.content[leaf.start : leaf.stop])
                    )
                    if right:
                        self.checked.add(leaf.start, leaf.stop)
                    else:
                        self.presence.remove(leaf.start, leaf.stop)

    def look_again(self) -> None:
        """It is in memory: nobody else writes to it."""

    def read_nowait(self, start: int, length: int) -> bytes | None:
        return self.content[start : start + length]

    def read(self, start: int, length: int) -> bytes:
        self.thread_reads += 1
        return bytes(self.content[start : start + length])


@dataclass
class FakePeer:
    """What one peer is like; `requests` are the ranges it was asked for, `sent` what it sent."""

    latency: float = 0.001
    rate: float = 50 * MIB
    is_silent: bool = False
    is_gone: bool = False
    is_busy: bool = False
    lacks: bool = False
    holds: Intervals | None = None
    lies_from: int | None = None
    requests: list[tuple[int, int]] = field(default_factory=list)
    sent: int = 0
    under_way: int = 0
    most_under_way: int = 0
    held_asked: int = 0
    being_asked: int = 0
    most_asked: int = 0


class FakeClient:
    """`peers.client.Client` over a dict of peers, which all have the file."""

    def __init__(self, dag: Dag, **peers: FakePeer) -> None:
        self.ledger = Ledger()
        self.peers = {name.encode().ljust(32, b"."): peer for name, peer in peers.items()}
        self.asked_blocks: Counter[Cid] = Counter()
        self.asked_nodes: list[int] = []
        self._blocks = dict(dag.blocks)

    def add(self, dag: Dag) -> None:
        self._blocks |= dag.blocks

    def stats(self, public_key: bytes) -> PeerStats:
        return self.ledger.stats(public_key)

    async def fetch_range(
        self, provider: Provider, root: Cid, size: int | None, start: int, stop: int, sink: Sink
    ) -> None:
        key = provider.public_key
        peer = self.peers[key]
        peer.requests.append((start, stop))
        peer.under_way += 1
        peer.most_under_way = max(peer.most_under_way, peer.under_way)
        try:
            await self._answer(key, root)
            if peer.holds is not None and not peer.holds.covers(start, stop):
                raise PeerLacksError("the peer does not have it")
            await self._stream(key, walk(root, size, start, stop), sink)
        except PeerBusyError:
            raise
        except PeerUnavailableError:
            self.ledger.failed(key)
            raise
        except WrongBlockError:
            self.ledger.lied(key)
            raise
        finally:
            peer.under_way -= 1

    async def fetch_nodes(self, provider: Provider, cids: Sequence[Cid]) -> dict[Cid, bytes]:
        assert len(cids) <= 1_024
        self.asked_nodes.append(len(cids))
        await self._answer(provider.public_key, cids[0])
        return {cid: self._blocks[cid] for cid in cids if cid in self._blocks}

    async def fetch_held(self, provider: Provider, root: Cid) -> Intervals:
        peer = self.peers[provider.public_key]
        peer.held_asked += 1
        peer.being_asked += 1
        peer.most_asked = max(peer.most_asked, peer.being_asked)
        try:
            await self._answer(provider.public_key, root)
        finally:
            peer.being_asked -= 1
        return Intervals([(0, 1 << 62)]) if peer.holds is None else peer.holds.copy()

    async def fetch_block(self, provider: Provider, cid: Cid) -> bytes:
        key = provider.public_key
        self.asked_blocks[cid] += 1
        await self._answer(key, cid)
        if self.peers[key].lies_from is not None:
            self.ledger.lied(key)
            raise WrongBlockError("a block does not match its hash")
        return self._blocks[cid]

    async def _answer(self, key: bytes, cid: Cid) -> None:
        peer = self.peers[key]
        if peer.is_gone:
            raise PeerUnavailableError("connection refused")
        if peer.is_silent:
            await trio.sleep(SILENCE_SECONDS)
            raise PeerSilentError("no answer")
        await trio.sleep(peer.latency)
        self.ledger.connected(key, Endpoint("127.0.0.1", 7117), peer.latency)
        if peer.is_busy:
            raise PeerBusyError("the peer is busy", 1.0)
        if peer.lacks or cid not in self._blocks:
            raise PeerLacksError("the peer does not have it")

    async def _stream(
        self, key: bytes, steps: Generator[Want, FileNode | None, None], sink: Sink
    ) -> None:
        peer = self.peers[key]
        want = next(steps)
        while want is not None:
            block = self._blocks[want.cid]
            await trio.sleep(len(block) / peer.rate)
            if peer.is_gone:
                raise PeerUnavailableError("connection reset")
            if peer.is_silent:
                await trio.sleep(SILENCE_SECONDS)
                raise PeerSilentError("nothing any more")
            peer.sent += len(block)
            node = None
            if want.cid.codec == RAW:
                if peer.lies_from is not None and want.start >= peer.lies_from:
                    raise WrongBlockError("a block does not match its hash")
                sink.write(want.start, memoryview(block))
                sink.landed(want.start, want.start + len(block))
                self.ledger.verified(key, len(block))
            else:
                node = parse_file(want.cid, block)
                if sink.node(want.cid) is None:
                    await sink.keep_nodes([(want.cid, block)])
            try:
                want = steps.send(node)
            except StopIteration:
                want = None


def providers(client: FakeClient, *names: str) -> list[Provider]:
    """Providers by name, or all of them."""
    wanted = [name.encode().ljust(32, b".") for name in names] or list(client.peers)
    return [Provider(key, (Endpoint("127.0.0.1", 7117),)) for key in wanted]


class FakeOverlay:
    """Finds what it is told, after a while."""

    def __init__(
        self, found: Sequence[Provider] = (), seconds: float = 0.5, error: Exception | None = None
    ) -> None:
        self.found, self.seconds, self.error = found, seconds, error
        self.lookups = 0

    def of(self, cid: Cid) -> tuple[list[Provider], FindProviders]:
        """As `library.sources.Sources`, which knows nobody yet."""
        return [], partial(self.providers, cid)

    async def providers(self, _cid: Cid, found: Callable[[Provider], None]) -> None:
        self.lookups += 1
        await trio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        for provider in self.found:
            found(provider)
