"""Nodes of the same network on the same LAN, found by multicast DNS (RFC 6762, RFC 6763).

What is announced: an instance name drawn each time, the port, this machine's addresses on that
LAN, and a tag by which only those who know the network's id know it again.  No name, no key.
Whether anybody is at an address that was found, `kad` finds out.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from p2pfs.addresses import Endpoint, endpoint
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf

    from p2pfs.addresses import Neighbourhood
    from p2pfs.network import Network

SERVICE = "_p2pfs._udp.local."
# So that the same node is not known again on another day; it also salts the tag.
_INSTANCE_BYTES = 12
_TAG_BYTES = 16
_TAG_KEY = b"t"
# Of one node: a machine has few addresses on a LAN.
_MAX_ADDRESSES = 4
# Found and not yet looked at; a LAN has fewer nodes, whoever makes up more is not listened to.
_WAITING = 64
# An interface may have its address before it carries multicast; sockets may run out for a while.
_AGAIN_SECONDS = 30

_log = logging.getLogger(__name__)


async def discover(
    network: Network,
    port: int,
    near: Neighbourhood,
    found: Callable[[Endpoint], Awaitable[None]],
    ips: Sequence[str],
) -> None:
    """Announce this node at `ips` (IPv4, each on another LAN), and tell `found` of others.

    Until cancelled; it returns at once, having said why, where there are no such addresses.
    """
    if not ips:
        _log.info("not looking for nodes on the LAN: no private IPv4 address with multicast")
        return
    _log.info("looking for nodes on the LAN at %s", ", ".join(ips))
    send, receive = trio.open_memory_channel[Endpoint](_WAITING)
    trio_token = trio.lowlevel.current_trio_token()

    def tell(address: Endpoint) -> None:
        with suppress(trio.WouldBlock, trio.BrokenResourceError):
            send.send_nowait(address)

    def heard(address: Endpoint) -> None:
        with suppress(trio.RunFinishedError):
            trio_token.run_sync_soon(tell, address)

    own = _Announced(network, secrets.token_hex(_INSTANCE_BYTES), port, ips)
    async with receive:
        radio = await _tuned_in(own, near, heard)
        try:
            await trio.to_thread.run_sync(radio.announce, abandon_on_cancel=True)
            async for address in receive:
                await found(address)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(radio.close)


async def _tuned_in(
    own: _Announced, near: Neighbourhood, heard: Callable[[Endpoint], None]
) -> _Radio:
    """As soon as the system allows it; that it does not yet is said once."""
    level = logging.WARNING
    while True:
        try:
            return await trio.to_thread.run_sync(_Radio, own, near, heard)
        except OSError as error:
            _log.log(level, "cannot look for nodes on the LAN yet: %s", error.strerror)
        level = logging.DEBUG
        await trio.sleep(_AGAIN_SECONDS)


def tag_of(network: Network, instance: str) -> bytes:
    """What a node of the network shows beside its instance name: 16 bytes."""
    message = b"p2pfs-lan-1" + instance.encode()
    return hmac.digest(network.id, message, "sha256")[:_TAG_BYTES]


@dataclass(frozen=True, slots=True)
class _Announced:
    """What is told of a node."""

    network: Network
    instance: str
    port: int
    ips: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.instance}.{SERVICE}"

    def is_kin(self, name: str, properties: dict[bytes, bytes | None]) -> bool:
        """Whether another node is of the same network."""
        tag = properties.get(_TAG_KEY)
        instance = name.removesuffix(f".{SERVICE}")
        return tag is not None and hmac.compare_digest(tag, tag_of(self.network, instance))


class _Radio:
    """The library, with threads of its own; every method is called in a thread and may wait."""

    def __init__(
        self, own: _Announced, near: Neighbourhood, heard: Callable[[Endpoint], None]
    ) -> None:
        """Listen; `heard` is called in one of its threads.  Raises OSError."""
        from zeroconf import IPVersion, ServiceBrowser, Zeroconf  # late: 0.2 s

        self._own = own
        self._near = near
        self._heard = heard
        self._zeroconf = Zeroconf(interfaces=list(own.ips), ip_version=IPVersion.V4Only)
        self._browser = ServiceBrowser(self._zeroconf, SERVICE, handlers=[self._look])

    def announce(self) -> None:
        """Tell who listens, and answer those who ask later."""
        from zeroconf import Error, ServiceInfo

        own = self._own
        service = ServiceInfo(
            SERVICE,
            own.name,
            addresses=[ip_address(ip).packed for ip in own.ips],
            port=own.port,
            properties={_TAG_KEY: tag_of(own.network, own.instance)},
            server=f"{own.instance}.local.",
        )
        try:
            # Nobody else has drawn the same name, so nobody is asked, which would take a second.
            self._zeroconf.register_service(service, cooperating_responders=True)
        except (Error, OSError) as error:
            _log.warning("cannot tell nodes on the LAN of this one: %s", error)

    def close(self) -> None:
        """Say goodbye, a quarter of a second, and end."""
        try:
            self._browser.cancel()
            self._zeroconf.close()
        except Exception as error:  # noqa: BLE001 however its loop ended, the node ends well
            _log.warning("cannot take leave of the LAN: %r", error)

    def _look(
        self,
        zeroconf: Zeroconf,
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        """At what is known of a name, now and again when more of it comes.

        Nobody is asked: whoever announces sends all that belongs to a name along (RFC 6763, section
        12.1), and names that are nobody's would keep those behind them waiting.
        """
        from zeroconf import Error, ServiceInfo, ServiceStateChange

        if name == self._own.name or state_change is ServiceStateChange.Removed:
            return
        try:
            service = ServiceInfo(service_type, name)
        except Error as error:  # no name of a service; raised on, it would end the thread
            _log.debug("what the LAN announces as %r is left out: %s", name, error)
            return
        if service.load_from_cache(zeroconf) and self._own.is_kin(name, service.properties):
            for address in _addresses(service, self._near):
                self._heard(address)


def _addresses(service: ServiceInfo, near: Neighbourhood) -> Iterator[Endpoint]:
    """Those on a LAN that this machine is in: multicast itself goes no further."""
    from zeroconf import IPVersion

    for packed in service.addresses_by_version(IPVersion.V4Only)[:_MAX_ADDRESSES]:
        try:
            address = endpoint(packed, service.port)
        except MalformedError:
            continue
        if near.is_near(address.ip):
            yield address
