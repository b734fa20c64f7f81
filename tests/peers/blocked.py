"""Whole overlay nodes with their HTTPS on loopback, of which some have their UDP blocked."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.concurrency import open_nursery
from p2pfs.dht.kad.opening import open_overlay
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.identity import Identity
from p2pfs.network import Network
from p2pfs.peers.client import open_client
from p2pfs.peers.contents import Contents
from p2pfs.peers.gateway import Gateway
from p2pfs.peers.pages import RECORDS_PATH, Pages
from p2pfs.peers.reach import listen
from p2pfs.peers.rpc import OBSERVED_PATH, RPC_PATH, Rpc, observed
from p2pfs.peers.strangers import open_strangers
from p2pfs.peers.streams.credentials import server_context
from p2pfs.peers.streams.http import serve_asgi
from tests.dht.kad.nodes import LOOPBACK, NETWORK, identity
from tests.peers.fakes import MemoryBlocks


@dataclass
class Firewall:
    """While it is up, no datagram gets in or out."""

    is_up: bool = True

    def before(self, sock: socket.socket) -> socket.socket:
        """The same socket behind it."""
        return _Firewalled(self, sock)


class _Firewalled(socket.socket):
    def __init__(self, firewall: Firewall, sock: socket.socket) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._firewall = firewall

    def sendto(self, data: bytes, *to: object) -> int:  # type: ignore[override]
        if self._firewall.is_up:
            return len(data)
        return super().sendto(data, *to)  # type: ignore[arg-type]

    def recvfrom(self, *most: int) -> tuple[bytes, object]:
        received = super().recvfrom(*most)
        if self._firewall.is_up:
            raise BlockingIOError
        return received


@dataclass
class Peer:
    kad: KadOverlay
    own: Identity
    address: Endpoint


@asynccontextmanager
async def open_peer(
    *peers: Endpoint, network: Network = NETWORK, firewall: Firewall | None = None
) -> AsyncIterator[Peer]:
    """A node that knows these peers, its UDP behind the firewall if there is one."""
    own, store = identity(), MemoryRecordStore()
    near = Neighbourhood()
    with closing(listen([Endpoint(LOOPBACK, 0)], next_free=False)) as listening:
        udp = listening.udp
        if firewall is not None:
            udp = tuple(firewall.before(sock) for sock in udp)
        async with (
            open_client(members=network.members) as client,
            open_strangers(network.members) as strangers,
            open_overlay(
                identity=own,
                network=network,
                neighbourhood=near,
                sockets=udp,
                https_port=listening.port,
                store=store,
                fetch_page=client.fetch_page,
                post_records=client.post_records,
                peers=peers,
            ) as kad,
            open_nursery() as nursery,
        ):
            pages = Pages(store, kad.accept, near.is_near, kad.clock)
            answering = {
                RPC_PATH: Rpc(kad.answer).answer,
                OBSERVED_PATH: observed,
                RECORDS_PATH: pages.answer,
            }
            gateway = Gateway(Contents(MemoryBlocks()), answering, near.is_near)  # type: ignore[arg-type]
            tls = server_context(own, network.members)
            nursery.start_soon(serve_asgi, gateway, listening.tcp, tls, near.is_near)
            nursery.start_soon(kad.tending.offer_detour, strangers.ask)
            yield Peer(kad, own, Endpoint(LOOPBACK, listening.port))
            nursery.cancel_scope.cancel()
