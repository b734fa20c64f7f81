"""Where this node listens, and at which addresses others may reach it.

Dial-back, port mapping and relays will stand here too; nothing here speaks to a peer yet.
"""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from p2pfs.addresses import (
    Endpoint,
    Scope,
    canonical_ip,
    parse_host_port,
    scope,
)
from p2pfs.errors import MalformedError, UsageError
from p2pfs.peers.interfaces import interface_addresses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

# The next free port is looked for this far up: more nodes than that do not share a machine.
_PORTS_TRIED = 100
# A port that the system picked for one socket may be taken for another; then it picks again.
_PICKS_TRIED = 20
# Connections that may wait to be accepted; beyond, the kernel makes clients try again.
_BACKLOG = 128
# A datagram burst while the loop is busy: about 1,700 datagrams of full size.
_UDP_BUFFER_BYTES = 2 << 20
# A name that is not known now may be when the network is up, or after a slip was mended.
_RESOLVE_AGAIN_SECONDS = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Bound sockets, one UDP and one listening TCP for each address, all on one port number."""

    tcp: tuple[socket.socket, ...]
    udp: tuple[socket.socket, ...]
    ips: tuple[str, ...]
    port: int

    def close(self) -> None:
        """Close every socket; closing twice does no harm."""
        for sock in self.tcp + self.udp:
            sock.close()


def listen(wanted: Iterable[Endpoint], *, next_free: bool) -> Listening:
    """Bind UDP and TCP on each endpoint, port 0 letting the system choose one number for all.

    `next_free` goes on to the next port number while one is taken; without it that is a
    UsageError.  An address family that the machine lacks is left out, if another remains.
    """
    endpoints = tuple(wanted)
    port = endpoints[0].port if endpoints else 0
    if not endpoints or any(endpoint.port != port for endpoint in endpoints):
        raise UsageError("listen: name at least one HOST:PORT, all with one port number")
    for candidate in _candidates(port, next_free=next_free):
        try:
            return _bind_all(tuple(endpoint.ip for endpoint in endpoints), candidate)
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise UsageError(f"cannot listen on {endpoints[0]}: {error.strerror}") from error
            last = error
    raise UsageError(
        f"cannot listen on port {port}: {last.strerror}; choose another with --listen HOST:PORT"
    ) from last


def split_peers(peers: Iterable[str]) -> tuple[list[Endpoint], list[str]]:
    """Of the peers that the user named, the addresses, and those whose address is to be found."""
    addresses, names = [], []
    for peer in peers:
        try:
            addresses.append(parse_host_port(peer))
        except MalformedError:
            names.append(peer)
    return addresses, names


async def find_named(peer: str, found: Callable[[Endpoint], Awaitable[None]]) -> None:
    """Tell of a peer's addresses by its name, as soon as that is known.

    Asks the machine's resolver, which may ask the network that the user has set it up for.
    """
    while not (addresses := await _resolve(peer)):
        _log.warning("cannot find the peer %s; trying again", peer)
        await trio.sleep(_RESOLVE_AGAIN_SECONDS)
    for address in addresses:
        await found(address)


async def _resolve(host_port: str) -> list[Endpoint]:
    host, _, port = host_port.rpartition(":")
    try:
        found = await trio.socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):  # the latter for what cannot be a name in the DNS
        return []
    return list(dict.fromkeys(Endpoint(canonical_ip(str(at[0])), int(port)) for *_, at in found))


def local_address(listening: Listening) -> Endpoint:
    """Where this node can be found on its own network, before any peer has said how it sees it.

    A wildcard stands for the machine's own addresses, the farthest reach first.
    """
    order = {Scope.GLOBAL: 0, Scope.PRIVATE: 1, Scope.LOOPBACK: 2, Scope.REFUSED: 3}
    bound = [ip for ip in listening.ips if not ip_address(ip).is_unspecified]
    versions = {ip_address(ip).version for ip in listening.ips}
    attached = [ip for ip, _ in interface_addresses() if ip_address(ip).version in versions]
    best = min(bound or attached, key=lambda ip: (order[scope(ip)], ip), default=listening.ips[0])
    return Endpoint(best, listening.port)


def _candidates(port: int, *, next_free: bool) -> Iterator[int]:
    if port == 0:
        yield from [0] * _PICKS_TRIED
    elif next_free:
        yield from range(port, port + _PORTS_TRIED)
    else:
        yield port


def _bind_all(ips: tuple[str, ...], port: int) -> Listening:
    with ExitStack() as undo:
        tcp: list[socket.socket] = []
        udp: list[socket.socket] = []
        bound: list[str] = []
        for ip in ips:
            try:
                stream = undo.enter_context(_bound_tcp(ip, port))
            except OSError as error:
                absent = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
                if error.errno in absent and ip_address(ip).is_unspecified and len(ips) > 1:
                    continue
                raise
            port = stream.getsockname()[1]
            tcp.append(stream)
            udp.append(undo.enter_context(_bound_udp(ip, port)))
            bound.append(ip)
        if not bound:
            raise OSError(errno.EAFNOSUPPORT, "this machine has none of these addresses")
        undo.pop_all()
        return Listening(tuple(tcp), tuple(udp), tuple(bound), port)


def _bound_tcp(ip: str, port: int) -> socket.socket:
    sock = _socket(ip, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bound_udp(ip: str, port: int) -> socket.socket:
    sock = _socket(ip, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_BYTES)
        sock.bind((ip, port))
    except OSError:
        sock.close()
        raise
    return sock


def _socket(ip: str, kind: socket.SocketKind) -> socket.socket:
    is_v6 = ip_address(ip).version == 6  # noqa: PLR2004 IP's own
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, kind)
    if is_v6:  # so that [::] and 0.0.0.0 can both be bound
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setblocking(False)
    return sock
