"""The machine's network interfaces as they are now, and what follows them.

Laptops move, and many a machine mounts before its network is up.
"""

from __future__ import annotations

import logging
import socket
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import psutil
import trio

from p2pfs.addresses import Scope, canonical_ip, scope
from p2pfs.concurrency import open_nursery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from p2pfs.addresses import Neighbourhood, Prefixes

# A look takes a third of a millisecond, and somebody who plugs in a cable waits for it.
_LOOK_SECONDS = 5

_log = logging.getLogger(__name__)


async def follow_interfaces(
    near: Neighbourhood,
    listening: Collection[str],
    on_lan: Callable[[Sequence[str]], Awaitable[None]] | None,
) -> None:
    """Keep `near` as the machine is attached, and `on_lan` running at its addresses on LANs.

    Until cancelled.  When these change `on_lan` is cancelled, and begun anew; it may end before.
    """
    while True:
        ips = lan_ips(listening)
        async with open_nursery() as nursery:
            if on_lan is not None:
                nursery.start_soon(on_lan, ips)
            while lan_ips(listening) == ips:
                await trio.sleep(_LOOK_SECONDS)
                near.attach(attached_subnets())
            nursery.cancel_scope.cancel()
        _log.info(
            "this machine's addresses on LANs are now %s", ", ".join(lan_ips(listening)) or "none"
        )


def attached_subnets() -> Prefixes:
    """Those this machine is attached to now."""
    subnets = {
        ip_network(f"{ip}/{netmask_bits}", strict=False)
        for ip, netmask_bits in interface_addresses() + _far_ends()
        if scope(ip) is Scope.PRIVATE
    }
    return tuple(sorted(subnets, key=str))


def lan_ips(listening: Collection[str]) -> list[str]:
    """The private IPv4 addresses among those listened on, where multicast reaches others."""
    wildcard = "0.0.0.0" in listening  # noqa: S104 compared, not bound
    return sorted(
        ip
        for name, entries in psutil.net_if_addrs().items()
        if _carries_multicast(name)
        for ip in (entry.address for entry in entries if entry.family == socket.AF_INET)
        if (wildcard or ip in listening) and scope(ip) is Scope.PRIVATE
    )


def _carries_multicast(interface: str) -> bool:
    state = psutil.net_if_stats().get(interface)
    return state is not None and state.isup and "multicast" in state.flags.split(",")


def interface_addresses() -> list[tuple[str, int]]:
    """All addresses of this machine, and how many bits its subnet has."""
    found = []
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family in {socket.AF_INET, socket.AF_INET6} and entry.netmask:
                ip = canonical_ip(entry.address.partition("%")[0])
                bits = sum(byte.bit_count() for byte in ip_address(entry.netmask).packed)
                found.append((ip, bits))
    return found


def _far_ends() -> list[tuple[str, int]]:
    """The other ends of point-to-point links, such as tunnels: a subnet of one address each."""
    ends = [e.ptp for entries in psutil.net_if_addrs().values() for e in entries if e.ptp]
    ips = [canonical_ip(end.partition("%")[0]) for end in ends]
    return [(ip, ip_address(ip).max_prefixlen) for ip in ips]
