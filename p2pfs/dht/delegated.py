"""Who has a content, asked of routers over HTTP: IPFS Delegated Routing V1, as a client.

https://specs.ipfs.tech/routing/http-routing-v1/.  A router is Kubo, a public service, another
p2pfs node: whatever the user names, and nothing else is ever contacted.  What its records say is
read in `peerschema`.
"""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import httpx
import trio

from p2pfs.addresses import canonical_ip
from p2pfs.concurrency import deadline
from p2pfs.dht.overlay import Provider
from p2pfs.dht.peerschema import GATEWAY_PROTOCOL, JSON_TYPE, NDJSON_TYPE, reader_for
from p2pfs.errors import (
    MalformedError,
    NoPeersError,
    P2pfsError,
    UnreachableError,
    UsageError,
)
from p2pfs.identity import parse_peer_id, public_key_of_certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from p2pfs.content.cid import Cid
    from p2pfs.content.metainfo import MetaInfo
    from p2pfs.dht.peerschema import ProviderReader
    from p2pfs.identity import OwnKey

# Public routers look in the network while they answer, and tell what they find as they find it;
# what comes later than this helps no reader.
_ANSWER_SECONDS = 10
# A router that says nothing for so long is not there: less than the 5 s in which a path in the
# mount must be known.
_SILENCE_SECONDS = 4
# 100 providers, as the specification recommends, of 1 to 3 KiB each.
_MAX_ANSWER_BYTES = 1 << 20
# After a failure the others are not kept waiting for it again and again.
_PAUSE_SECONDS = 30
# A listing asks for many contents at once; no router should see a flood.
_CONNECTIONS = 8
_IDLE_SECONDS = 20
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
# IPIP-484: without those that speak only bitswap.
_ONLY_GATEWAYS = {"filter-protocols": GATEWAY_PROTOCOL}


class Delegated:
    """One router as an `Overlay` that knows who has a content, and takes and tells nothing else."""

    def __init__(
        self,
        url: str,
        http: httpx.AsyncClient,
        counts: Callable[[str, str | None], bool],
        own: OwnKey,
    ) -> None:
        self.url = url
        self.asked = 0
        """Contents it was asked for, since the start."""
        self.found = 0
        """Providers it named that this node can fetch from."""
        self.last_error = ""
        """Why the last question failed; empty if it did not."""
        self._base = _without_user(url)
        self._http = http
        self._counts = counts
        self._own = own
        self._turns = trio.CapacityLimiter(_CONNECTIONS)
        self._resumes_at = 0.0

    async def announce(self, cid: Cid, expires: int) -> int:  # noqa: ARG002 nobody to tell
        """See `Overlay`; routers take no records, so nobody holds it."""
        return 0

    async def publish(self, meta: MetaInfo) -> int:  # noqa: ARG002 nobody to tell
        """See `Overlay`; as `announce`."""
        return 0

    async def search(self, tag: str, found: Callable[[MetaInfo], None]) -> None:  # noqa: ARG002
        """See `Overlay`: raises NoPeersError, as routers know no tags."""
        raise NoPeersError("routers know content ids, and no tags")

    async def providers(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        """See `Overlay`; raises UnreachableError for a router that does not answer as one does."""
        if cid.inline is not None:  # it is in the id itself
            return
        async with self._turns:
            if trio.current_time() < self._resumes_at:
                raise UnreachableError(self.last_error)
            await self._ask_in_time(cid, found)

    async def _ask_in_time(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        self.asked += 1
        try:
            with deadline(_ANSWER_SECONDS, "its answer"):
                await self._ask(cid, found)
        except (P2pfsError, httpx.HTTPError, OSError) as error:
            self.last_error = f"{self.url}: {_reason(error)}"
            self._resumes_at = trio.current_time() + _PAUSE_SECONDS
            raise UnreachableError(self.last_error) from error
        self.last_error, self._resumes_at = "", 0.0

    async def _ask(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        target = f"{self._base}/routing/v1/providers/{cid}"
        async with self._http.stream("GET", target, params=_ONLY_GATEWAYS) as response:
            if response.status_code == HTTPStatus.NOT_FOUND:  # so some say that nobody has it
                return
            reader = _reader_of(response)
            connection = response.extensions["network_stream"]
            told_by = canonical_ip(connection.get_extra_info("server_addr")[0])

            def tell(providers: Iterable[Provider]) -> None:
                for provider in providers:
                    self._tell(provider, told_by, found)

            await _read_body(response, lambda piece: tell(reader.feed(piece)))
            tell(reader.close())

    def _tell(self, provider: Provider, told_by: str, found: Callable[[Provider], None]) -> None:
        """Of its addresses those that the router may name."""
        usable = tuple(at for at in provider.addresses if self._counts(at.ip, told_by))
        if usable and provider.public_key != self._own.public_key:
            self.found += 1
            found(Provider(provider.public_key, usable))


@asynccontextmanager
async def open_delegated(
    urls: Iterable[str], counts: Callable[[str, str | None], bool], own: OwnKey
) -> AsyncIterator[list[Delegated]]:
    """An overlay for each router, as the setting `delegated` names them.

    `counts` is `Neighbourhood.counts`.  Nothing is sent before something is looked for.  Raises
    UsageError for a peer id that is none.
    """
    async with AsyncExitStack() as clients:
        yield [
            Delegated(url, await clients.enter_async_context(_client(url)), counts, own)
            for url in urls
        ]


def _client(url: str) -> httpx.AsyncClient:
    """Without whatever makes a client tell or follow more than was asked."""
    limits = httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_IDLE_SECONDS)
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(verify=_tls(url), limits=limits, trust_env=False),
        headers={
            "Accept": f"{NDJSON_TYPE}, {JSON_TYPE};q=0.9",
            "Accept-Encoding": "identity",
            "User-Agent": "p2pfs",
        },
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        timeout=httpx.Timeout(_SILENCE_SECONDS, pool=None),
        follow_redirects=False,
        trust_env=False,
    )


def _tls(url: str) -> ssl.SSLContext:
    """The key that the URL pins, else a certificate that this system trusts."""
    parts = urlsplit(url)
    if parts.username is not None:
        try:
            return _pinning(parse_peer_id(parts.username))
        except MalformedError as error:
            raise UsageError(f"delegated: {parts.username!r} is {error}") from error
    if parts.scheme == "https":
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used


def _pinning(public_key: bytes) -> ssl.SSLContext:
    """TLS 1.3 with the owner of a key, as all nodes speak it; nobody else is sent a request."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            if _key_of(self.getpeercert(binary_form=True)) != public_key:
                raise ssl.SSLCertVerificationError("it has another key than its peer id says")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = Pinned
    return context


def _key_of(certificate: bytes | None) -> bytes | None:
    try:
        return None if certificate is None else public_key_of_certificate(certificate)
    except ValueError:
        return None


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def _reader_of(response: httpx.Response) -> ProviderReader:
    """What reads the body; raises UnreachableError or MalformedError for no answer."""
    status = response.status_code
    if response.is_redirect:
        raise UnreachableError("it sends on to another address, which is not followed")
    if status in _BUSY:
        raise UnreachableError("it is busy")
    if status != HTTPStatus.OK:
        raise UnreachableError(f"it answers with status {status}")
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise MalformedError("it encodes its answer, which was not asked for")
    return reader_for(response.headers.get("content-type", ""))


async def _read_body(response: httpx.Response, take: Callable[[bytes], None]) -> None:
    """Hand on the pieces of a body as they come; raises MalformedError for one without an end.

    What `take` raises cancels the reading first: all generators below end where they stand, rather
    than when the garbage collector finds them.
    """
    failure: Exception | None = None
    received = 0
    with trio.CancelScope() as reading:
        async for piece in response.aiter_raw():
            received += len(piece)
            if failure is None:
                failure = _refusal(take, piece, received)
                if failure is not None:
                    reading.cancel()
    if failure is not None:
        raise failure


def _refusal(take: Callable[[bytes], None], piece: bytes, received: int) -> Exception | None:
    """Why no more of a body is wanted, if so."""
    if received > _MAX_ANSWER_BYTES:
        return MalformedError("its answer is too long")
    try:
        take(piece)
    except Exception as error:  # noqa: BLE001 raised by the caller
        return error
    return None


def _reason(error: Exception) -> str:
    """In one line, without advice."""
    if isinstance(error, P2pfsError):
        return Exception.__str__(error)
    if isinstance(error, httpx.TimeoutException):
        return "it does not answer"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message if hasattr(cause, "verify_message") else str(cause.args[-1])
    return str(cause or error) or "the connection broke off"
