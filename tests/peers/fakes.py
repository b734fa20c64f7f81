"""What peers need around them: blocks in a dict, a sink in memory, real TLS ends on loopback."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from functools import lru_cache
from typing import TYPE_CHECKING

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.concurrency import open_nursery
from p2pfs.content.car import block_prefix, encode_header
from p2pfs.content.cid import DAG_PB, Cid
from p2pfs.content.intervals import Intervals
from p2pfs.content.unixfs import FileNode, parse_file
from p2pfs.content.walk import walk
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.overlay import Provider
from p2pfs.dht.recordstore import RecordStore
from p2pfs.errors import MalformedError, NoPeersError, NotFoundError
from p2pfs.identity import Identity
from p2pfs.peers.contents import Contents
from p2pfs.peers.dialing import Dialer
from p2pfs.peers.exchange import Asking, http_client
from p2pfs.peers.gateway import Gateway
from p2pfs.peers.ledger import Ledger
from p2pfs.peers.pacing import Link
from p2pfs.peers.pages import MISSING_PATH, NAMES_PATH, RECORDS_PATH, Pages
from p2pfs.peers.reach import listen
from p2pfs.peers.routing import ROUTING_PATH, Routing
from p2pfs.peers.streams.credentials import server_context
from p2pfs.peers.streams.http import serve_asgi
from p2pfs.peers.streams.tls import TlsStream
from p2pfs.peers.transport import PeerTransport
from p2pfs.store.pieces import Piece, Plan
from tests.content.dags import Dag

if TYPE_CHECKING:
    from p2pfs.peers.streams.http import Asgi

Script = Callable[[TlsStream], Awaitable[None]]


@lru_cache
def identity(name: str) -> Identity:
    return Identity(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)))


class MemoryBlocks:
    """`store.blocks.Blocks` over DAGs in memory; `lose` takes a block away in mid-answer."""

    def __init__(self, *dags: Dag) -> None:
        self.dags = {dag.root: dag for dag in dags}
        self.blocks = {cid: block for dag in dags for cid, block in dag.blocks.items()}
        self.lost: set[Cid] = set()
        self.plans = 0

    def root_size(self, cid: Cid) -> int | None:
        dag = self.dags.get(cid)
        return None if dag is None else dag.size

    async def held(self, cid: Cid) -> int | None:
        block = self.blocks.get(cid) if cid.inline is None else cid.inline
        return None if block is None else len(block)

    async def read(self, cid: Cid) -> bytes:
        block = self.blocks.get(cid) if cid.inline is None else cid.inline
        if block is None or cid in self.lost:
            raise NotFoundError(f"{cid} is not here")
        return block

    async def nodes(self, cids: Iterable[Cid], max_bytes: int) -> list[Piece]:  # noqa: ARG002 small
        here = [cid for cid in cids if cid in self.blocks and cid.codec == DAG_PB]
        return [Piece(cid, len(self.blocks[cid]), cid, None) for cid in here]

    async def coverage(self, root: Cid) -> Intervals:
        size = self.root_size(root)
        if size is None:
            raise NotFoundError(f"{root} is not here")
        return Intervals([(0, size)])

    async def plan(self, root: Cid, start: int = 0, stop: int | None = None) -> Plan:
        self.plans += 1
        size = await self.held(root)
        if size is None:
            raise NotFoundError(f"{root} is not here")
        if self.root_size(root) is None and root.inline is None:
            pieces = [Piece(root, size, root, None)]
        else:
            pieces = list(self._pieces(root, start, stop))
        plan = Plan(root, self.root_size(root) or size, lambda: iter(pieces))
        plan.section_bytes = sum(len(block_prefix(p.cid, p.size)) + p.size for p in pieces)
        return plan

    async def read_pieces(self, pieces: Iterable[Piece]) -> AsyncGenerator[bytearray, None]:
        for piece in pieces:
            block = await self.read(piece.cid)
            yield bytearray(block_prefix(piece.cid, len(block)) + block)

    def _pieces(self, root: Cid, start: int, stop: int | None) -> Iterable[Piece]:
        steps = walk(root, self.root_size(root), start, stop)
        want = next(steps)
        try:
            while True:
                block = self.blocks[want.cid] if want.cid.inline is None else want.cid.inline
                if want.cid.inline is None:
                    yield Piece(want.cid, len(block), root, want.start)
                is_node = want.cid.codec == DAG_PB
                want = steps.send(parse_file(want.cid, block) if is_node else None)
        except StopIteration:
            return


async def no_records(batch: bytes, ip: str) -> list[bool]:
    """A batch of one-byte records, of which those that are `1` are held."""
    if not batch:
        raise MalformedError("not a batch")
    return [each == ord("1") for each in batch]


async def nobody(cid: Cid, found: Callable[[Provider], None]) -> None:
    raise NoPeersError("a network of one")


def gateway_of(
    blocks: MemoryBlocks,
    *,
    near: bool = True,
    uplink: Link | None = None,
    records: RecordStore | None = None,
) -> Gateway:
    """A node that holds these blocks and perhaps records, and is alone."""
    pages = Pages(records or MemoryRecordStore(), no_records, lambda _: near, lambda: 0)
    own = Provider(identity("server").public_key, ())
    routing = Routing(blocks, lambda _: [], lambda: own, nobody, Neighbourhood())  # type: ignore[arg-type]
    others = {
        RECORDS_PATH: pages.answer,
        MISSING_PATH: pages.missing,
        NAMES_PATH: pages.names,
        ROUTING_PATH: routing.answer,
    }
    return Gateway(Contents(blocks), others, lambda _: near, uplink)  # type: ignore[arg-type]


class MemorySink:
    """A `receiving.Sink` that notes what it is told."""

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        self.spans: list[tuple[int, int]] = []
        self.nodes: dict[Cid, bytes] = {}
        self.landed_bytes = 0
        self.wait_landed = trio.Event()

    def node(self, cid: Cid) -> FileNode | None:
        block = self.nodes.get(cid)
        return None if block is None else parse_file(cid, block)

    def write(self, start: int, data: memoryview) -> None:
        self.content[start : start + len(data)] = data

    def landed(self, start: int, stop: int) -> None:
        self.spans.append((start, stop))
        self.landed_bytes += stop - start
        self.wait_landed.set()

    async def keep_nodes(self, nodes: Sequence[tuple[Cid, bytes]]) -> None:
        await trio.lowlevel.checkpoint()
        self.nodes.update(nodes)


def car(dag: Dag, start: int = 0, stop: int | None = None) -> bytes:
    """The CAR that a right peer sends."""
    blocks = MemoryBlocks(dag)
    sections = [
        block_prefix(piece.cid, piece.size) + dag.blocks[piece.cid]
        for piece in blocks._pieces(dag.root, start, stop)
    ]
    return encode_header(dag.root) + b"".join(sections)


@asynccontextmanager
async def serving(
    app: Asgi,
    name: str = "server",
    *,
    near: bool = True,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Provider]:
    """An application behind real TLS."""
    listening = listen([Endpoint("127.0.0.1", 0)], next_free=False)
    with closing(listening):
        async with open_nursery() as nursery:
            tls = context or server_context(identity(name))
            nursery.start_soon(serve_asgi, app, listening.tcp, tls, lambda _: near)
            yield provider(listening.port, name)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def scripted(
    script: Script, name: str = "server", context: ssl.SSLContext | None = None
) -> AsyncIterator[Provider]:
    """A peer that does whatever the script says on each connection, after the handshake."""
    listening = listen([Endpoint("127.0.0.1", 0)], next_free=False)
    context = context or server_context(identity(name))

    async def converse(raw: trio.SocketStream) -> None:
        sock = context.wrap_socket(
            socket.socket(fileno=raw.socket.detach()),
            server_side=True,
            do_handshake_on_connect=False,
        )
        sock.setblocking(False)
        stream = TlsStream(sock)
        try:
            await stream.do_handshake()
            await script(stream)
        except trio.BrokenResourceError:
            pass  # the client has had enough
        finally:
            stream.close()

    with closing(listening):
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening.tcp[0]))
        async with open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, converse, [listener])
            yield provider(listening.port, name)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def asking(ledger: Ledger | None = None) -> AsyncIterator[Asking]:
    """What `open_client` asks its peers by."""
    ledger = ledger or Ledger()
    async with http_client(PeerTransport(Dialer(ledger))) as http:
        yield Asking(http, ledger)


def provider(port: int, name: str = "server") -> Provider:
    return Provider(identity(name).public_key, (Endpoint("127.0.0.1", port),))


class Counting:
    """A script that answers "ok", counting connections, requests, and those at once."""

    def __init__(self, requests_a_connection: int = 100) -> None:
        self.connections = 0
        self.requests = 0
        self.at_once = 0
        self.most_at_once = 0
        self.go_on = trio.Event()
        self.go_on.set()
        self._requests_a_connection = requests_a_connection

    async def __call__(self, stream: TlsStream) -> None:
        self.connections += 1
        for _ in range(self._requests_a_connection):
            if not await stream.receive_some():
                return
            self.requests += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await self.go_on.wait()
            self.at_once -= 1
            await stream.send_all(http_answer(b"ok"))


def answering(answer: bytes) -> Script:
    """Send these bytes for the first request, then wait for the client to close."""

    async def script(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        while await stream.receive_some():
            pass

    return script


def http_answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
