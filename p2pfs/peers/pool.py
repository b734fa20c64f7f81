"""The connections to all peers: made with the key pinned, kept for the next request, limited.

What is asked over them is for `client`; how many to one peer, for `ledger`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.peers.errors import PeerUnavailableError
from p2pfs.peers.exchange import Connection, StaleConnectionError
from p2pfs.peers.streams.tls import connect_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.overlay import Provider
    from p2pfs.peers.exchange import Body, Head, Request
    from p2pfs.peers.ledger import Ledger
    from p2pfs.peers.streams.tls import TlsStream

# A handshake saved is two round trips; servers close what is idle for 30 s.
_IDLE_SECONDS = 20
# Idle ones of peers that are not asked any more: descriptors and 50 KB each.
_MAX_IDLE = 64
# Requests of all downloads and lookups at once; beyond, they wait for each other.
_MAX_REQUESTS = 256
# A peer's next address is tried so long after the last one, as RFC 8305 has it.
_NEXT_ADDRESS_SECONDS = 0.25
# As many as a provider record may name.
_MAX_ADDRESSES = 4


class Pool:
    """Idle connections by public key, the one used last at the end."""

    def __init__(self, context: ssl.SSLContext, ledger: Ledger) -> None:
        self._context = context
        self._ledger = ledger
        self._idle: dict[bytes, list[Connection]] = {}
        self._limits: dict[bytes, trio.CapacityLimiter] = {}
        self._requests = trio.CapacityLimiter(_MAX_REQUESTS)

    @asynccontextmanager
    async def exchange(
        self, provider: Provider, request: Request
    ) -> AsyncIterator[tuple[Head, Body]]:
        """Send a request and hand out its answer; raises PeerUnavailableError.

        The connection is kept if the body was received whole, else closed.
        """
        public_key = provider.public_key
        async with self._turn(public_key):
            connection, head, body = await self._ask(provider, request)
            try:
                yield head, body
            finally:
                if not body.remaining and head.keeps_connection:
                    self._put_aside(public_key, connection)
                else:
                    connection.close()

    async def close_old(self) -> None:
        """Close what has been idle for long, for ever."""
        while True:
            await trio.sleep(_IDLE_SECONDS / 4)
            oldest = trio.current_time() - _IDLE_SECONDS
            for public_key, connections in list(self._idle.items()):
                for connection in [one for one in connections if one.idle_since < oldest]:
                    connections.remove(connection)
                    connection.close()
                if not connections:
                    del self._idle[public_key]

    def close(self) -> None:
        """Close every idle connection."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    @asynccontextmanager
    async def _turn(self, public_key: bytes) -> AsyncIterator[None]:
        """Wait until one more request to this peer may start."""
        most = self._ledger.stats(public_key).connections
        limit = self._limits.setdefault(public_key, trio.CapacityLimiter(most))
        limit.total_tokens = most
        turn = object()  # one task may ask several peers at once
        try:
            async with _borrowed(limit, turn), _borrowed(self._requests, turn):
                yield
        finally:
            statistics = limit.statistics()
            if not statistics.borrowed_tokens and not statistics.tasks_waiting:
                self._limits.pop(public_key, None)

    async def _ask(self, provider: Provider, request: Request) -> tuple[Connection, Head, Body]:
        while True:
            connection = self._idle_to(provider)
            if connection is None:
                connection = await self._connect(provider)
            try:
                head, body = await connection.ask(request)
            except StaleConnectionError:
                connection.close()
            except BaseException:
                connection.close()
                raise
            else:
                return connection, head, body

    def _idle_to(self, provider: Provider) -> Connection | None:
        connections = self._idle.get(provider.public_key, [])
        while connections:
            connection = connections.pop()
            if not connections:
                del self._idle[provider.public_key]
            if connection.is_fresh:
                return connection
            connection.close()
        return None

    def _put_aside(self, public_key: bytes, connection: Connection) -> None:
        connection.idle_since = trio.current_time()
        self._idle.setdefault(public_key, []).append(connection)
        if sum(map(len, self._idle.values())) > _MAX_IDLE:
            key, connections = min(self._idle.items(), key=lambda item: item[1][0].idle_since)
            connections.pop(0).close()
            if not connections:
                del self._idle[key]

    async def _connect(self, provider: Provider) -> Connection:
        """The first connection that comes about, its addresses tried one after the other."""
        addresses = list(dict.fromkeys(provider.addresses))[:_MAX_ADDRESSES]
        known = self._ledger.stats(provider.public_key).endpoint
        addresses.sort(key=lambda endpoint: endpoint != known)  # the one that worked, first
        race = _Race(provider.public_key, self._context)
        stream, rtt, endpoint = await race.run(addresses)
        self._ledger.connected(provider.public_key, endpoint, rtt)
        return Connection(stream, endpoint)


class _Race:
    """Connecting to several addresses of one peer; the first to get through ends the others."""

    def __init__(self, public_key: bytes, context: ssl.SSLContext) -> None:
        self._public_key = public_key
        self._context = context
        self._won: tuple[TlsStream, float, Endpoint] | None = None
        self._failures: list[PeerUnavailableError] = []

    async def run(self, addresses: list[Endpoint]) -> tuple[TlsStream, float, Endpoint]:
        try:
            async with open_nursery() as nursery:
                for endpoint in addresses:
                    tried = trio.Event()
                    nursery.start_soon(self._try, endpoint, tried, nursery.cancel_scope)
                    with trio.move_on_after(_NEXT_ADDRESS_SECONDS):
                        await tried.wait()
        except BaseException:
            if self._won is not None:
                self._won[0].close()
            raise
        if self._won is None:
            raise self._failures[-1] if self._failures else PeerUnavailableError("no address known")
        return self._won

    async def _try(self, endpoint: Endpoint, tried: trio.Event, race: trio.CancelScope) -> None:
        try:
            stream, rtt = await connect_tls(endpoint, self._public_key, self._context)
        except PeerUnavailableError as error:
            self._failures.append(error)
            tried.set()
            return
        if self._won is None:
            self._won = (stream, rtt, endpoint)
            race.cancel()
        else:
            stream.close()


@asynccontextmanager
async def _borrowed(limit: trio.CapacityLimiter, turn: object) -> AsyncIterator[None]:
    await limit.acquire_on_behalf_of(turn)
    try:
        yield
    finally:
        limit.release_on_behalf_of(turn)
