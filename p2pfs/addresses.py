"""IP endpoints as peers name them: parsing, scopes, and whose word counts for which.

Pure; nothing here resolves a name or opens a socket.  Python's `is_global` and `is_private`
disagree with what a peer may announce for several ranges, so the table is our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the first item of an address on the wire says: `[kind, ip, port, …]`.
KIND_HTTPS = 0
KIND_IROH = 1
KIND_RELAY = 2
HTTPS_PORT = 443
# Below this lie services that a referral could make us knock at.
LOWEST_PORT = 1024
HIGHEST_PORT = 65535
# "65535", and generous with leading zeros; int() itself fails on thousands of digits.
_MAX_PORT_DIGITS = 8

_DIRECT_ADDRESS_ITEMS = 3
# The same addresses are met in every datagram, and `ipaddress` takes up to 60 µs for one question;
# more than a node ever knows, and at most some 5 MiB.
_REMEMBERED = 16_384
# What one household or server is given at least; a /64 each would let it count as 256.
_V6_CLIENT_BITS = 56

Prefixes: TypeAlias = tuple[IPv4Network | IPv6Network, ...]

# All addresses of a family, as a socket is bound to them.
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 compared, not bound

_LOOPBACK = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))
_PRIVATE = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)
_REFUSED = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # "this host", RFC 1122
            "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
            "192.0.0.0/24",  # protocol assignments, RFC 6890
            "192.0.2.0/24",  # documentation, RFC 5737
            "198.18.0.0/15",  # benchmarks, RFC 2544
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "::/128",
            "64:ff9b::/96",  # NAT64: names an IPv4 address behind our back, RFC 6052
            "100::/64",  # discard, RFC 6666
            "2001::/32",  # Teredo
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "ff00::/8",  # multicast
        ),
    )
)


class Scope(Enum):
    """How far an address reaches."""

    LOOPBACK = "loopback"
    PRIVATE = "private"
    GLOBAL = "global"
    REFUSED = "refused"


class Endpoint(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """A literal IP (in canonical text, IPv4-mapped unwrapped, no zone) and a port."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    @property
    def packed_ip(self) -> bytes:
        """4 or 16 bytes."""
        return _packed(self.ip)


@lru_cache(_REMEMBERED)
def canonical_ip(ip: str | bytes) -> str:
    """The one spelling of a literal IP, from text or 4 or 16 bytes; raises MalformedError."""
    try:
        address = ip_address(ip)
    except ValueError as error:
        raise MalformedError(f"not a literal IP address: {ip!r}") from error
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if address.scope_id is not None:
            return str(IPv6Address(int(address)))
    return str(address)


def endpoint(ip: object, port: object) -> Endpoint:
    """An endpoint out of unchecked values; raises MalformedError.

    Only shape and port are judged here: whether the address counts is `counts`.
    """
    if not isinstance(ip, str | bytes) or not isinstance(port, int) or isinstance(port, bool):
        raise MalformedError("an address is an IP and a port")
    if not (LOWEST_PORT <= port <= HIGHEST_PORT or port == HTTPS_PORT):
        raise MalformedError(f"port {port} is not one a peer may use")
    return Endpoint(canonical_ip(ip), port)


def parse_host_port(text: str) -> Endpoint:
    """`HOST:PORT` as a user types it, HOST a literal IP (IPv6: in brackets); MalformedError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > _MAX_PORT_DIGITS:
        raise MalformedError(f"not HOST:PORT: {text!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise MalformedError(f"an IPv6 address goes in brackets, as in [::1]:7117: {text!r}")
    if int(port) > HIGHEST_PORT:
        raise MalformedError(f"no such port: {text!r}")
    return Endpoint(canonical_ip(host), int(port))


@lru_cache(_REMEMBERED)
def scope(ip: str) -> Scope:
    """The scope of a canonical IP."""
    address = ip_address(ip)
    for networks, found in (
        (_LOOPBACK, Scope.LOOPBACK),
        (_REFUSED, Scope.REFUSED),
        (_PRIVATE, Scope.PRIVATE),
    ):
        if any(address in network for network in networks):
            return found
    return Scope.GLOBAL


@dataclass(frozen=True, slots=True, eq=False)  # else its hash costs more than what is remembered
class _Near:
    attached: Prefixes
    prefixes: Prefixes


class Neighbourhood:
    """The prefixes that count beside the global Internet: attached subnets, and the setting `lan`.

    A private or loopback address counts only if whoever named it spoke from that same scope.
    Any thread may ask while another one `attach`es: a laptop moves.
    """

    __slots__ = ("_lan", "_near")

    def __init__(self, attached: Prefixes = (), lan: Prefixes = ()) -> None:
        self._lan = lan
        self._near = _Near(attached, attached + lan)

    def attach(self, subnets: Prefixes) -> None:
        """The subnets that this machine is in from now on."""
        if subnets != self._near.attached:
            self._near = _Near(subnets, subnets + self._lan)

    def counts(self, ip: str, told_by: str | None) -> bool:
        """Whether an address may be used that the peer at IP `told_by` named.

        None stands for the user's own word, which counts for every scope but the refused ones.
        """
        reach = scope(ip)
        if reach is Scope.GLOBAL:  # most of all
            return True
        if reach is Scope.REFUSED:
            return False
        if told_by is None or _within(self._lan, ip):
            return True
        if scope(told_by) is Scope.LOOPBACK:  # this very machine: what it reaches, we reach
            return reach is Scope.LOOPBACK or _within(self._near.attached, ip)
        return reach is Scope.PRIVATE and any(
            _inside(net, ip) and _inside(net, told_by) for net in self._near.attached
        )

    def is_near(self, ip: str) -> bool:
        """Whether the limits per IP and per prefix do not apply: loopback, attached, `lan`."""
        if scope(ip) is Scope.LOOPBACK:
            return True
        near = self._near
        return bool(near.prefixes) and _is_in_prefixes(near, ip)


def is_v6(ip: str) -> bool:
    """Whether a canonical IP is of IPv6."""
    return ":" in ip


@lru_cache(_REMEMBERED)
def client_group(ip: str) -> str:
    """Whose limits a canonical IP shares: an IPv4 address is its own group, IPv6 goes by /56."""
    return str(ip_network(f"{ip}/{_V6_CLIENT_BITS}", strict=False)) if ":" in ip else ip


@lru_cache(_REMEMBERED)
def prefix_group(ip: str) -> tuple[str, str]:
    """The wide and the narrow network an IP is in, for caps: /16 and /24, or /32 and /48."""
    wide, narrow = (16, 24) if ip_address(ip).version == 4 else (32, 48)  # noqa: PLR2004 IP's own
    return (
        str(ip_network(f"{ip}/{wide}", strict=False)),
        str(ip_network(f"{ip}/{narrow}", strict=False)),
    )


@dataclass(frozen=True, slots=True)
class AddressList:
    """What a peer says of where it is; kinds that this version does not know are left out."""

    https: tuple[Endpoint, ...]
    direct_ips: frozenset[str]  # where it is itself, by any protocol: a relay's is not among them
    only_relays: bool


def encode_addresses(https: Iterable[Endpoint]) -> list[list[int | bytes]]:
    """`[[0, ip, port], …]`, the IP as 4 or 16 bytes."""
    return [[KIND_HTTPS, address.packed_ip, address.port] for address in https]


def parse_addresses(value: object, most: int) -> AddressList:
    """A list of addresses of all kinds out of an unchecked value; raises MalformedError."""
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError(f"addresses are a list of at most {most}")
    https: list[Endpoint] = []
    direct: set[str] = set()
    kinds = [_address_kind(item) for item in value]
    for kind, item in zip(kinds, value, strict=True):
        if kind not in (KIND_HTTPS, KIND_IROH):
            continue
        found = _direct_endpoint(item)
        direct.add(found.ip)
        if kind == KIND_HTTPS:
            https.append(found)
    return AddressList(
        tuple(https), frozenset(direct), bool(kinds) and all(kind == KIND_RELAY for kind in kinds)
    )


def _address_kind(item: object) -> int:
    if not isinstance(item, list) or not item or type(item[0]) is not int:
        raise MalformedError("an address is a list that begins with its kind")
    return item[0]


def _direct_endpoint(item: list[object]) -> Endpoint:
    if len(item) != _DIRECT_ADDRESS_ITEMS or not isinstance(item[1], bytes):
        raise MalformedError("a direct address is its kind, an IP of 4 or 16 bytes, and a port")
    return endpoint(item[1], item[2])


@lru_cache(_REMEMBERED)
def _packed(ip: str) -> bytes:
    return ip_address(ip).packed


@lru_cache(_REMEMBERED)
def _parsed(ip: str) -> IPv4Address | IPv6Address:
    return ip_address(ip)


def _inside(network: IPv4Network | IPv6Network, ip: str) -> bool:
    return _parsed(ip) in network


@lru_cache(_REMEMBERED)
def _is_in_prefixes(near: _Near, ip: str) -> bool:
    """Asked a dozen times a datagram, and a lookup asks it of all contacts."""
    return _within(near.prefixes, ip)


def _within(networks: Prefixes, ip: str) -> bool:
    return any(_inside(network, ip) for network in networks) if networks else False
