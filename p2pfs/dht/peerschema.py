"""Who has a content, as IPFS clients and routers write it: the peer schema, in JSON.  Pure.

https://specs.ipfs.tech/routing/http-routing-v1/ and IPIP-417.  Asking for such records is
`delegated`, answering with them `peers.routing`.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import field

from p2pfs.addresses import Endpoint, endpoint
from p2pfs.dht.overlay import Provider
from p2pfs.dht.records import MAX_PROVIDER_ADDRESSES
from p2pfs.errors import MalformedError
from p2pfs.identity import parse_peer_id, peer_id

if TYPE_CHECKING:
    from collections.abc import Iterable

JSON_TYPE, NDJSON_TYPE = "application/json", "application/x-ndjson"
GATEWAY_PROTOCOL = "transport-ipfs-gateway-http"
"""What a peer speaks that gives blocks over HTTP."""
# A peer with hundreds of addresses; public routers' lines are 1 to 3 KiB.
_MAX_LINE_BYTES = 64 << 10
_SCHEMA = "peer"
_IPV4 = 4
# HTTP over TLS at a literal IP, in both spellings, perhaps with the peer's id again.
_HTTPS = re.compile(
    r"/(ip4|ip6)/([0-9a-fA-F.:]{2,45})/tcp/([0-9]{1,5})(/tls/http|/https)(/p2p/\w+)?"
)


class _Peer(msgspec.Struct, frozen=True):
    schema: str = field(name="Schema", default="")
    id: str = field(name="ID", default="")
    addrs: list[str] | None = field(name="Addrs", default=None)
    protocols: list[str] | None = field(name="Protocols", default=None)


class _Providers(msgspec.Struct, frozen=True):
    providers: list[msgspec.Raw] | None = field(name="Providers", default=None)


_PEER_DECODER = msgspec.json.Decoder(_Peer)
_PROVIDERS_DECODER = msgspec.json.Decoder(_Providers)
# msgspec reports a nesting bomb as RecursionError, and text that is not UTF-8 as itself.
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ProviderReader(Protocol):
    """Takes an answer in as it comes, and gives the providers that this node can fetch from.

    Records of other schemas, of other keys than Ed25519 and without HTTPS at a literal IP are left
    out.  Both methods raise MalformedError for what is no answer.
    """

    def feed(self, piece: bytes) -> list[Provider]:
        """Those that a further piece completes."""

    def close(self) -> list[Provider]:
        """Those that the end completes."""


class LineReader:
    """A `ProviderReader` for a record a line."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[Provider]:
        self._rest += piece
        lines = self._rest.split(b"\n") if b"\n" in piece else [self._rest]
        self._rest = lines.pop()
        if len(self._rest) > _MAX_LINE_BYTES:
            raise MalformedError("a line that does not end")
        return _parse_records(line for line in lines if line.strip())

    def close(self) -> list[Provider]:
        return self.feed(b"\n")


class TextReader:
    """A `ProviderReader` for one JSON text; whoever feeds it bounds its length."""

    def __init__(self) -> None:
        self._text = bytearray()

    def feed(self, piece: bytes) -> list[Provider]:
        self._text += piece
        return []

    def close(self) -> list[Provider]:
        try:
            records = _PROVIDERS_DECODER.decode(self._text).providers
        except _DECODING_ERRORS as error:
            raise MalformedError("no list of providers in JSON") from error
        return _parse_records(records or ())


def reader_for(content_type: str) -> ProviderReader:
    """What reads an answer of that Content-Type; raises MalformedError."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == NDJSON_TYPE:
        return LineReader()
    if kind == JSON_TYPE:
        return TextReader()
    raise MalformedError("neither JSON nor lines of it")


def encode_json(providers: Iterable[Provider]) -> bytes:
    """`{"Providers": […]}`."""
    return msgspec.json.encode(_Providers([msgspec.Raw(_record(each)) for each in providers]))


def encode_ndjson(providers: Iterable[Provider]) -> bytes:
    """A line for each."""
    return b"".join(_record(provider) + b"\n" for provider in providers)


def _record(provider: Provider) -> bytes:
    multiaddrs = list(map(_multiaddr, provider.addresses))
    peer = _Peer(_SCHEMA, peer_id(provider.public_key), multiaddrs, [GATEWAY_PROTOCOL])
    return msgspec.json.encode(peer)


def _multiaddr(address: Endpoint) -> str:
    version = "ip4" if ip_address(address.ip).version == _IPV4 else "ip6"
    return f"/{version}/{address.ip}/tcp/{address.port}/tls/http"


def _parse_records(records: Iterable[bytes | bytearray | msgspec.Raw]) -> list[Provider]:
    return [provider for provider in map(_parse_record, records) if provider is not None]


def _parse_record(record: bytes | bytearray | msgspec.Raw) -> Provider | None:
    """None for one that is of no use here; raises MalformedError for what is no JSON."""
    try:
        peer = _PEER_DECODER.decode(record)
    except msgspec.ValidationError:  # of another schema
        return None
    except _DECODING_ERRORS as error:
        raise MalformedError("a record that is no JSON") from error
    addresses = filter(None, map(_parse_multiaddr, peer.addrs or ()))
    usable = tuple(islice(addresses, MAX_PROVIDER_ADDRESSES))
    try:
        key = parse_peer_id(peer.id)
    except MalformedError:  # of another kind of key
        return None
    return Provider(key, usable) if peer.schema == _SCHEMA and usable else None


def _parse_multiaddr(text: str) -> Endpoint | None:
    """Where HTTPS is spoken at a literal IP; None for any other address."""
    found = _HTTPS.fullmatch(text)
    if found is None or (found[1] == "ip6") != (":" in found[2]):
        return None
    try:
        return endpoint(found[2], int(found[3]))
    except MalformedError:
        return None
