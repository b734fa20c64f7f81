"""Nodes on loopback for tests, and a peer that answers whatever a test wants it to."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.content.cid import Cid, raw_cid
from p2pfs.content.metainfo import Description, MetaInfo, create_meta
from p2pfs.dht.kad.contacts import Contact, Hint
from p2pfs.dht.kad.opening import open_overlay
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.kad.proof import Prover
from p2pfs.dht.kad.referrals import pack_address
from p2pfs.dht.kad.wire import (
    HEADER_BYTES,
    Find,
    Ping,
    Reply,
    Request,
    encode_reply,
    encode_request,
    parse_header,
    parse_reply,
    parse_request,
)
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.recordstore import RecordStore
from p2pfs.errors import UnreachableError
from p2pfs.identity import Identity
from p2pfs.network import Network, public_network

if TYPE_CHECKING:
    from p2pfs.dht.kad.collecting import FetchPage
    from p2pfs.dht.kad.overlay import PostRecords

NETWORK = public_network("kad-tests")
LOOPBACK = "127.0.0.1"
HOUR = 3600


def identity(seed: int | None = None) -> Identity:
    raw = os.urandom(32) if seed is None else seed.to_bytes(32, "big")
    return Identity(Ed25519PrivateKey.from_private_bytes(raw))


def hint(key: bytes, endpoint: Endpoint) -> Hint:
    return Hint(key, NETWORK.node_id(key), endpoint)


def contact(seed: int, ip: str = LOOPBACK) -> Contact:
    """A contact with a made-up key, one for each seed."""
    key = hashlib.sha256(b"contact %d" % seed).digest()
    return Contact(key, NETWORK.node_id(key), Endpoint(ip, 1024 + seed % 60_000), 7117)


def udp_socket(port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((LOOPBACK, port))
    sock.setblocking(False)
    return sock


def free_port() -> int:
    """A port that nobody listens on now."""
    with udp_socket() as sock:
        return sock.getsockname()[1]


def cid_of(content: bytes) -> Cid:
    return raw_cid(hashlib.sha256(content).digest())


def expiry() -> int:
    return int(time.time()) + HOUR


def meta_of(
    publisher: Identity,
    content: bytes,
    *tags: str,
    seq: int | None = None,
    expires: int | None = None,
) -> MetaInfo:
    description = Description(
        cid_of(content), f"{content.hex()[:12]}.txt", len(content), 0, "text/plain", tags
    )
    number = int(time.time() * 1000) if seq is None else seq
    until = expiry() if expires is None else expires
    return create_meta(description, (), number, until, publisher.private_key, NETWORK)


async def no_page(_key: bytes, address: Endpoint, *_: bytes) -> bytes:
    raise UnreachableError(f"no HTTPS at {address} in this test")


async def no_post(_key: bytes, address: Endpoint, _batch: bytes) -> Sequence[bool]:
    raise UnreachableError(f"no HTTPS at {address} in this test")


@asynccontextmanager
async def open_node(
    *peers: Endpoint,
    store: RecordStore | None = None,
    sock: socket.socket | None = None,
    own: Identity | None = None,
    fetch_page: FetchPage = no_page,
    post_records: PostRecords = no_post,
    network: Network = NETWORK,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[tuple[KadOverlay, Endpoint]]:
    """A node that knows these peers, and its UDP address."""
    sock = sock or udp_socket()
    address = Endpoint(LOOPBACK, sock.getsockname()[1])
    async with open_overlay(
        identity=own or identity(),
        network=network,
        clock=clock,
        neighbourhood=Neighbourhood(),
        sockets=[sock],
        https_port=address.port,
        store=store or MemoryRecordStore(),
        fetch_page=fetch_page,
        post_records=post_records,
        peers=peers,
    ) as overlay:
        yield overlay, address


class Stranger:
    """A peer made of a socket and a key, that proves itself and answers as a test says.

    `answer(request)` gives the reply to a request with a valid token, raw bytes to be sent after
    the header as they are, or None for silence.
    """

    def __init__(self, sock: trio.socket.SocketType, own: Identity) -> None:
        self.socket = sock
        self.identity = own
        self.endpoint = Endpoint(LOOPBACK, sock.getsockname()[1])
        self.asked: list[Request] = []
        self.answer: Callable[[Request], Reply | bytes | None] = lambda _: Reply(count=0)
        self._prover = Prover(own, NETWORK, self.endpoint.port, self.endpoint.port)

    async def serve(self) -> None:
        while True:
            datagram, address = await self.socket.recvfrom(4096)
            _, message_id = parse_header(datagram)
            request = parse_request(datagram)
            source = Endpoint(*address[:2])
            reply = self._reply(request, source)
            if isinstance(reply, Reply):
                await self.socket.sendto(encode_reply(message_id, reply), address)
            elif reply is not None:
                await self.socket.sendto(b"\1" + message_id + reply, address)

    def _reply(self, request: Request, source: Endpoint) -> Reply | bytes | None:
        if request.token is None:
            return Reply(token=bytes(16))
        self.asked.append(request)
        reply = Reply() if isinstance(request, Ping) else self.answer(request)
        if isinstance(reply, Reply) and request.nonce is not None and request.named is not None:
            proof = self._prover.prove(request.nonce, source, request.named, time.time())
            fields = {name: getattr(reply, name) for name in reply.__struct_fields__}
            return Reply(**{**fields, "proof": proof, "seen": pack_address(source)})
        return reply

    async def ask(self, to: Endpoint, request: Request) -> Reply:
        """One request, one reply; run it while `serve` does not."""
        message_id = os.urandom(20)
        await self.socket.sendto(encode_request(message_id, request), (to.ip, to.port))
        while True:
            datagram, _ = await self.socket.recvfrom(4096)
            if datagram[1:HEADER_BYTES] == message_id:
                return parse_reply(datagram)

    async def token(self, of: Endpoint) -> bytes:
        reply = await self.ask(of, Ping(nonce=bytes(16)))
        assert reply.token is not None
        return reply.token

    async def make_known(self, to: Endpoint) -> None:
        """Introduce itself, so that the node asks back; `serve` does the rest."""
        token = await self.token(to)
        await self.ask(to, Find(token=token, sender=self.identity.public_key, key=bytes(20)))


@asynccontextmanager
async def open_stranger(own: Identity | None = None) -> AsyncIterator[Stranger]:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.bind((LOOPBACK, 0))
        yield Stranger(sock, own or identity())


async def wait_until(holds: Callable[[], bool], seconds: float = 40.0) -> None:
    """Until something that other threads bring about is so; fails the test after that long."""
    with trio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110 it happens in threads that know no trio
            await trio.sleep(0.01)
