"""The UDP sockets of a node as the one transport that `rpcudp` expects.

Which socket a datagram leaves from is decided here, and nothing about what is in it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from p2pfs.addresses import WILDCARDS, Scope, canonical_ip, endpoint, is_v6, scope
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.addresses import Endpoint

# Sources whose socket is remembered, so that an answer leaves from where the question came in.
_REMEMBERED = 4_096
# Routes come and go with cables and lids; to ask for one takes 10 us, and lookups hear of the same
# addresses again and again.
_ROUTE_SECONDS = 10.0
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}


class Transport(Protocol):
    """What a node sends and receives datagrams by: sockets, or a simulated network."""

    async def open(self, received: Callable[[bytes, Endpoint], None]) -> None:
        """Begin to listen; `received(datagram, source)` gets it all."""

    def sendto(self, data: bytes, address: Endpoint) -> None:
        """Send, if there is a way; like any datagram it may be lost."""

    def reaches(self, address: Endpoint) -> bool:
        """Whether there is a way."""

    @property
    def ips(self) -> tuple[str, ...]:
        """The addresses bound to, wildcards as they are."""

    @property
    def port(self) -> int:
        """The port bound to."""

    def close(self) -> None:
        """Send and receive no more."""


@dataclass(frozen=True, slots=True)
class _Bound:
    transport: asyncio.DatagramTransport
    family: int
    ip: str


class _Receiver(asyncio.DatagramProtocol):
    """One socket's end: cleans the source address and hands over."""

    def __init__(self, deliver: Callable[[bytes, Endpoint, _Receiver], None]) -> None:
        self._deliver = deliver
        self.bound: _Bound | None = None

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        try:
            source = endpoint(addr[0], addr[1])
        except MalformedError:  # a port no peer may use
            return
        self._deliver(data, source, self)

    def error_received(self, _exc: Exception) -> None:
        """ICMP errors and full buffers: whoever waits for an answer will see that none comes."""


class Sockets:
    """Several sockets that are bound already, sending from the one that fits."""

    def __init__(self, socks: Sequence[socket.socket]) -> None:
        self._socks = socks
        self._bound: list[_Bound] = []
        self._via: OrderedDict[Endpoint, _Bound] = OrderedDict()

    async def open(self, received: Callable[[bytes, Endpoint], None]) -> None:
        """See `Transport`."""

        def deliver(data: bytes, source: Endpoint, receiver: _Receiver) -> None:
            if receiver.bound is not None:
                self._remember(source, receiver.bound)
            received(data, source)

        loop = asyncio.get_running_loop()
        for sock in self._socks:
            transport, receiver = await loop.create_datagram_endpoint(
                lambda: _Receiver(deliver), sock=sock
            )
            ip = canonical_ip(sock.getsockname()[0])
            receiver.bound = _Bound(transport, sock.family, ip)
            self._bound.append(receiver.bound)

    @property
    def port(self) -> int:
        """See `Transport`; they all have the same one."""
        port: int = self._socks[0].getsockname()[1]
        return port

    @property
    def ips(self) -> tuple[str, ...]:
        """See `Transport`."""
        return tuple(bound.ip for bound in self._bound)

    def reaches(self, address: Endpoint) -> bool:
        """See `Transport`; a socket of the address's family says little of IPv6.

        Most machines without it have one.  Who is named to them by IPv6 is not dead, nor who names
        him a liar.
        """
        has_socket = any(bound.family == _family(address) for bound in self._bound)
        return has_socket and _has_route(address, int(time.monotonic() / _ROUTE_SECONDS))

    def sendto(self, data: bytes, address: Endpoint) -> None:
        """See `Transport`."""
        bound = self._via.get(address) or self._choose(address)
        if bound is not None and not bound.transport.is_closing():
            bound.transport.sendto(data, (address.ip, address.port))

    def close(self) -> None:
        """See `Transport`."""
        for bound in self._bound:
            bound.transport.close()

    def _choose(self, address: Endpoint) -> _Bound | None:
        fitting = [bound for bound in self._bound if bound.family == _family(address)]
        wildcard = [bound for bound in fitting if bound.ip in WILDCARDS]
        same_scope = [
            bound for bound in fitting if _is_loopback(bound.ip) == _is_loopback(address.ip)
        ]
        chosen = wildcard or same_scope or fitting
        return chosen[0] if chosen else None

    def _remember(self, source: Endpoint, bound: _Bound) -> None:
        self._via[source] = bound
        self._via.move_to_end(source)
        if len(self._via) > _REMEMBERED:
            self._via.popitem(last=False)


def _family(address: Endpoint) -> int:
    return socket.AF_INET6 if is_v6(address.ip) else socket.AF_INET


@lru_cache(_REMEMBERED)
def _has_route(address: Endpoint, _now: int) -> bool:
    """Whether this machine knows a way there; to connect a UDP socket sends nothing."""
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as asking:
            asking.connect((address.ip, address.port))
    except OSError as error:
        return error.errno not in _NO_ROUTE
    return True


def _is_loopback(ip: str) -> bool:
    return scope(ip) is Scope.LOOPBACK
