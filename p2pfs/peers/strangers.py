"""HTTPS to whoever is at an address, whose key TLS then shows: overlay requests without UDP.

What is asked, and whether that key is the right one, is for the overlay.  Peers whose key is known
before are `client`'s.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import httpcore
import trio

from p2pfs.concurrency import open_nursery
from p2pfs.dht.kad.wire import MAX_DATAGRAM_BYTES
from p2pfs.dht.overlay import Provider
from p2pfs.peers.dialing import wanted_at
from p2pfs.peers.exchange import Answer, checked_length, http_client
from p2pfs.peers.peerstream import PIECE_BYTES, PeerStream
from p2pfs.peers.rpc import RPC_PATH
from p2pfs.peers.streams.credentials import client_context
from p2pfs.peers.streams.tls import connect_tls
from p2pfs.peers.transport import PeerTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from p2pfs.addresses import Endpoint
    from p2pfs.network import MemberKeys

# A node is asked for several records at once.
_CONNECTIONS = 2


@asynccontextmanager
async def open_strangers(members: MemberKeys | None = None) -> AsyncIterator[Strangers]:
    """In a private network only its members are asked; leaving ends the connections."""
    transport = PeerTransport(_Dialer(members))
    async with http_client(transport) as http, open_nursery() as nursery:
        nursery.start_soon(transport.close_old)
        yield Strangers(http)
        nursery.cancel_scope.cancel()


class Strangers:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        # While somebody waits for one or holds it.
        self._limits = WeakValueDictionary[str, trio.CapacityLimiter]()

    async def ask(self, address: Endpoint, message: bytes) -> tuple[bytes, bytes]:
        """The answer to one overlay request, and the key of who gave it.

        Raises one of `peers.errors`.
        """
        limit = self._limits.setdefault(str(address), trio.CapacityLimiter(_CONNECTIONS))
        async with (
            limit,
            self._http.stream(
                "POST",
                f"http://{address}{RPC_PATH}",
                content=message,
                extensions={"provider": Provider(b"", (address,))},
            ) as response,
        ):
            answer = Answer(response)
            try:
                await checked_length(answer, MAX_DATAGRAM_BYTES)
                key = answer.peer_key  # before the end, which may close the connection
                return await answer.read(), key
            finally:
                await answer.end()


class _Dialer(httpcore.AsyncNetworkBackend):
    def __init__(self, members: MemberKeys | None) -> None:
        self._context = client_context(members)
        self._scratch = memoryview(bytearray(PIECE_BYTES))

    async def connect_tcp(self, *_: object, **__: object) -> PeerStream:
        [address] = wanted_at.get()
        stream, _rtt = await connect_tls(address, None, self._context)
        return PeerStream(stream, address, self._scratch, is_far=False)
