"""A request to a peer and its answer, by httpx; how many to one peer at once.

What is asked, and what an answer means, is for `client`; connections are for `transport`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import httpx
import trio

from p2pfs.peers.dialing import host_of
from p2pfs.peers.errors import PeerBusyError, PeerLacksError, PeerUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2pfs.dht.overlay import Provider
    from p2pfs.peers.ledger import Ledger
    from p2pfs.peers.peerstream import PeerStream

# "not here" and the like; who says more loses the connection.
_MAX_REFUSAL_BYTES = 1 << 10
_OK = 200
_NOT_HERE = frozenset({404, 410, 451})
_BUSY = frozenset({429, 503})
# Whoever asks for more patience is asked again all the same: limits are by the second.
_LONGEST_RETRY_SECONDS = 60


def http_client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """Without whatever makes a client tell or follow more than was asked."""
    return httpx.AsyncClient(
        transport=transport,
        headers={"Accept-Encoding": "identity", "User-Agent": "p2pfs"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        timeout=None,  # noqa: S113 how long a peer may be silent, `peerstream` decides
        follow_redirects=False,
        trust_env=False,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is the path with its query."""

    method: str
    target: str
    accept: str
    body: bytes | None = None


class Answer:
    """The head of an answer, and the pieces of its body, which can be read once."""

    def __init__(self, response: httpx.Response) -> None:
        headers = response.headers
        self._response = response
        self._connection: PeerStream = response.extensions["network_stream"]
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise PeerUnavailableError(
                f"{self._connection.endpoint} encodes content, which was not asked for"
            )
        self.status = response.status_code
        self.retry_after = _seconds(headers.get("retry-after", ""))
        self.length = _length(headers)
        """As declared, and kept; None means that the body cannot be used."""
        if self.length is not None:
            self._connection.expect(self.length)
        self.pieces = response.aiter_raw()

    @property
    def peer_key(self) -> bytes:
        """Of who has answered, as TLS has proven it; raises PeerUnavailableError."""
        return self._connection.peer_key

    async def read(self) -> bytes:
        """The whole body; whoever calls has looked at how long it is."""
        return b"".join([piece async for piece in self.pieces])

    async def end(self) -> None:
        """Let go of a body that nobody reads any more.

        Each layer of httpx and httpcore has a generator in it, and all must end where they stand,
        be it by an error: left to the garbage collector, their ends would run at any later time.
        """
        if self._response.is_closed or self.length is None:
            return  # all have ended, or none has begun
        if self._response.num_bytes_downloaded < self.length:
            self._connection.close()
        with suppress(PeerUnavailableError):
            async for _ in self.pieces:
                pass


class Asking:
    """Requests to all peers, to each only so many at once."""

    def __init__(self, http: httpx.AsyncClient, ledger: Ledger) -> None:
        self._http = http
        self._ledger = ledger
        # While somebody waits for one or holds it.
        self._limits = WeakValueDictionary[bytes, trio.CapacityLimiter]()

    @asynccontextmanager
    async def ask(self, provider: Provider, request: Request) -> AsyncIterator[Answer]:
        """Send a request and hand out its answer; raises PeerUnavailableError.

        The connection is kept if the body was read whole, else closed.
        """
        key = provider.public_key
        most = self._ledger.stats(key).connections
        limit = self._limits.setdefault(key, trio.CapacityLimiter(most))
        limit.total_tokens = most
        async with (
            limit,
            self._http.stream(
                request.method,
                f"http://{host_of(key)}{request.target}",
                headers={"Accept": request.accept},
                content=request.body,
                extensions={"provider": provider},
            ) as response,
        ):
            answer = Answer(response)
            try:
                yield answer
            finally:
                await answer.end()


async def checked_length(answer: Answer, limit: int) -> int:
    """How long a body is; raises what another status than 200, or a wrong length, means."""
    length = answer.length
    if answer.status != _OK and length is not None and length <= _MAX_REFUSAL_BYTES:
        await answer.read()  # a few words, so that the connection can be kept
    if answer.status in _NOT_HERE:
        raise PeerLacksError("the peer does not have it")
    if answer.status in _BUSY:
        raise PeerBusyError("the peer is busy", answer.retry_after)
    if answer.status != _OK:
        raise PeerUnavailableError(f"the peer answers with status {answer.status}")
    if length is None:
        raise PeerUnavailableError("the peer does not say how long its answer is")
    if length > limit:
        raise PeerUnavailableError(f"the peer announces {length} bytes, at most {limit} fit")
    return length


def _length(headers: httpx.Headers) -> int | None:
    length = headers.get("content-length", "")
    is_framed = length.isdigit() and "transfer-encoding" not in headers
    return int(length) if is_framed else None


def _seconds(value: str) -> float:
    """A Retry-After, within reason."""
    is_number = value.isdigit() and len(value) <= len(str(_LONGEST_RETRY_SECONDS))
    return min(float(value), _LONGEST_RETRY_SECONDS) if is_number else 1.0
