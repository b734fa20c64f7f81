"""The machine's network interfaces as they are now, and what follows them.

Laptops move, and many a machine mounts before its network is up.
"""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import psutil
import trio

from p2pfs.addresses import Scope, canonical_ip, scope
from p2pfs.concurrency import open_nursery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from psutil._ntuples import snicstats

    from p2pfs.addresses import Neighbourhood, Prefixes

# A look takes half a millisecond, five where a hundred containers run; and somebody who plugs in a
# cable waits for it.
_LOOK_SECONDS = 5
# Others have addresses that are no IPs, also at the far ends of their tunnels.
_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_log = logging.getLogger(__name__)


async def follow_interfaces(
    near: Neighbourhood,
    listening: Collection[str],
    on_lan: Callable[[Sequence[str]], Awaitable[None]] | None,
) -> None:
    """Keep `near` as the machine is attached, and `on_lan` running at its addresses on LANs.

    Until cancelled.  When these change, or the machine has slept and may be elsewhere, `on_lan` is
    cancelled and begun anew; it may end before.
    """
    of_interest = () if on_lan is None else listening
    place = now = _look(near, of_interest, _Place((), 0))
    while True:
        async with open_nursery() as nursery:
            if on_lan is not None:
                nursery.start_soon(on_lan, place.lan_ips)
            while now == place:
                await trio.sleep(_LOOK_SECONDS)
                now = _look(near, of_interest, place)
            nursery.cancel_scope.cancel()
        place = now


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the machine is."""

    lan_ips: tuple[str, ...]
    slept_seconds: int  # since it booted


def _look(near: Neighbourhood, listening: Collection[str], last: _Place) -> _Place:
    """Where it is now; what the system does not tell stays as it was."""
    try:
        near.attach(attached_subnets())
        return _Place(lan_ips(listening), _slept_seconds())
    except OSError as error:  # as when an interface goes just now
        _log.debug("cannot look at the interfaces: %s", error)
        return last


def _slept_seconds() -> int:
    """How long the machine has been suspended since it booted: only the second clock goes on."""
    awake = time.clock_gettime(time.CLOCK_MONOTONIC)
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) - awake)


def attached_subnets() -> Prefixes:
    """Those this machine is attached to now."""
    subnets = {
        ip_network(f"{ip}/{netmask_bits}", strict=False)
        for ip, netmask_bits in interface_addresses() + _far_ends()
        if scope(ip) is Scope.PRIVATE
    }
    return tuple(sorted(subnets, key=str))


def lan_ips(listening: Collection[str]) -> tuple[str, ...]:
    """The private IPv4 addresses among those listened on, where multicast reaches others."""
    wildcard = "0.0.0.0" in listening  # noqa: S104 compared, not bound
    private = {
        entry.address: name
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family == socket.AF_INET and scope(entry.address) is Scope.PRIVATE
        if wildcard or entry.address in listening
    }
    states = psutil.net_if_stats() if private else {}
    return tuple(sorted(ip for ip, name in private.items() if _carries_multicast(states.get(name))))


def _carries_multicast(state: snicstats | None) -> bool:
    return state is not None and state.isup and "multicast" in state.flags.split(",")


def interface_addresses() -> list[tuple[str, int]]:
    """All addresses of this machine, and how many bits its subnet has."""
    found = []
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family in _FAMILIES and entry.netmask:
                ip = canonical_ip(entry.address.partition("%")[0])
                bits = sum(byte.bit_count() for byte in ip_address(entry.netmask).packed)
                found.append((ip, bits))
    return found


def _far_ends() -> list[tuple[str, int]]:
    """The other ends of point-to-point links, such as tunnels: a subnet of one address each."""
    entries = [entry for entries in psutil.net_if_addrs().values() for entry in entries]
    ends = [entry.ptp for entry in entries if entry.ptp and entry.family in _FAMILIES]
    ips = [canonical_ip(end.partition("%")[0]) for end in ends]
    return [(ip, ip_address(ip).max_prefixlen) for ip in ips]
