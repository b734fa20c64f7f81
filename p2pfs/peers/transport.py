"""httpx over httpcore's connection pool, over connections of our own.

What is asked, and what an answer means, is not for here.  Failures are those of `peers.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpcore
import httpx
import trio

from p2pfs.peers.dialing import wanted_at
from p2pfs.peers.errors import PeerUnavailableError
from p2pfs.peers.peerstream import StaleConnectionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2pfs.dht.overlay import Provider

# A handshake saved is two round trips; servers close what is idle for 30 s.
_IDLE_SECONDS = 20
# Of all downloads and lookups at once: descriptors and 50 KB each.
_MAX_CONNECTIONS = 256


class PeerTransport(httpx.AsyncBaseTransport):
    """Each request's extension `provider` says whom its URL means, and where that is."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=_MAX_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The head of the answer, its body still to come; raises PeerUnavailableError."""
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
        )
        provider: Provider = request.extensions["provider"]
        wanted_at.set(provider.addresses)
        answer = None
        while answer is None:
            try:
                answer = await self._pool.handle_async_request(asked)
            except StaleConnectionError:
                continue  # there are only so many, and then a new one is made
            except httpcore.RemoteProtocolError as error:
                raise PeerUnavailableError(f"the peer does not speak HTTP: {error}") from error
        content = _Content(answer)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=content, extensions=answer.extensions
        )

    async def close_old(self) -> None:
        """Close what has been idle for long, for ever: the pool itself looks only when asked."""
        while True:
            await trio.sleep(_IDLE_SECONDS / 4)
            for connection in self._pool.connections:
                if connection.has_expired():
                    await connection.aclose()

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Content(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._answer.aiter_stream():
            yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()
