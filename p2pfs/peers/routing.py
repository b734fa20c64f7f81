"""Who has a content, for IPFS clients: `GET /routing/v1/providers/{cid}`, Delegated Routing V1.

https://specs.ipfs.tech/routing/http-routing-v1/; peers and names are not routed.  Strangers are
told what this node holds and what was stored here; a lookup is run for this machine alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from p2pfs.addresses import Scope, client_group, scope
from p2pfs.content.cid import Cid, parse_cid
from p2pfs.dht.overlay import Provider
from p2pfs.dht.peerschema import JSON_TYPE, NDJSON_TYPE, encode_json, encode_ndjson
from p2pfs.dht.records import parse_provider_record
from p2pfs.dht.subjects import provider_subject
from p2pfs.errors import MalformedError, NoPeersError
from p2pfs.peers.answers import Answer, once, whole
from p2pfs.peers.limits import Rate
from p2pfs.peers.trustless import RefusedError

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint, Neighbourhood
    from p2pfs.dht.recordstore import RecordStore
    from p2pfs.network import Network
    from p2pfs.peers.asked import Asked
    from p2pfs.store.blocks import Blocks

Stored = Callable[[Cid], list[Provider]]
"""Who has stored here that it has a content; blocks."""
Lookup = Callable[[Cid, Callable[[Provider], None]], Awaitable[None]]
"""`Overlay.providers`."""

ROUTING_PATH = "/routing/v1/"
# What the specification recommends; nobody asks more.
_MAX_PROVIDERS = 100
# What a lookup of the mount may take.
_LOOKUP_SECONDS = 5
# Each checks 100 signatures at most, 15 ms.
_READS_AT_ONCE = 2
# As of pages of records: who walks a folder asks for many at once, who goes on asking is counted.
_ASKED_PER_SECOND, _ASKED_AT_ONCE = 10, 256
# Peers come and go; an answer of none may be wrong in a moment.
_CACHED_SECONDS = 15
# For clients in browsers.
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, OPTIONS"),
]


class Routing:
    def __init__(
        self,
        blocks: Blocks,
        stored: Stored,
        own: Callable[[], Provider],
        lookup: Lookup,
        near: Neighbourhood,
    ) -> None:
        """`own`: this node; `near`: who is not counted, and whose addresses are of use to whom."""
        self._blocks = blocks
        self._stored = stored
        self._own = own
        self._lookup = lookup
        self._near = near
        self._asked = Rate(_ASKED_PER_SECOND, _ASKED_AT_ONCE)
        self._reads = trio.CapacityLimiter(_READS_AT_ONCE)

    async def answer(self, asked: Asked) -> Answer:
        """Raises RefusedError with the specification's own statuses."""
        if asked.method == "OPTIONS":
            return Answer(HTTPStatus.NO_CONTENT, list(_CORS), once(b""))
        kind, _, text = asked.path.removeprefix(ROUTING_PATH).partition("/")
        if asked.method not in {"GET", "HEAD"} or kind != "providers":
            raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "only GET providers/{cid} is answered")
        try:
            cid = parse_cid(text)
        except MalformedError as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        self._count(asked.ip)
        providers = await self._providers(cid, asked)
        streams = NDJSON_TYPE.encode() in asked.headers.get(b"accept", b"")
        encode, content_type = (encode_ndjson, NDJSON_TYPE) if streams else (encode_json, JSON_TYPE)
        answer = whole(HTTPStatus.OK, encode(providers), content_type)
        cached = f"public, max-age={_CACHED_SECONDS}".encode()
        answer.headers.extend([*_CORS, (b"cache-control", cached), (b"vary", b"accept")])
        return answer

    def _count(self, ip: str) -> None:
        if not self._near.is_near(ip) and not self._asked.take(
            client_group(ip), trio.current_time()
        ):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "that is asked too often")

    async def _providers(self, cid: Cid, asked: Asked) -> list[Provider]:
        """By key, each with the addresses that count for the asker; none without any."""
        found: dict[bytes, dict[Endpoint, None]] = {}

        def add(provider: Provider) -> None:
            for address in provider.addresses:
                if self._near.counts(address.ip, asked.ip):
                    found.setdefault(provider.public_key, {})[address] = None

        if cid.inline is None:
            await self._add_held(cid, asked, add)
            for provider in await trio.to_thread.run_sync(self._stored, cid, limiter=self._reads):
                add(provider)
            if scope(asked.ip) is Scope.LOOPBACK:
                with trio.move_on_after(_LOOKUP_SECONDS), suppress(NoPeersError):
                    await self._lookup(cid, add)
        listed = list(found.items())[:_MAX_PROVIDERS]
        return [Provider(key, tuple(addresses)) for key, addresses in listed]

    async def _add_held(self, cid: Cid, asked: Asked, add: Callable[[Provider], None]) -> None:
        """The node itself, also where the asker has just reached it."""
        if await self._blocks.held(cid) is None:
            return
        own = self._own()
        add(Provider(own.public_key, (*own.addresses, asked.here)))


def stored_providers(
    records: RecordStore, network: Network, clock: Callable[[], float], cid: Cid
) -> list[Provider]:
    """Out of the records that others have stored here."""
    key = provider_subject(cid.multihash).key
    rows = records.rows(key, int(clock()))[:_MAX_PROVIDERS]
    said = [parse_provider_record(row.value, network) for row in rows]
    return [Provider(each.publisher, each.addresses) for each in said]
