"""A node follows the machine's interfaces; the system's lists of them are made up."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
import trio

from p2pfs.addresses import WILDCARDS, Neighbourhood
from p2pfs.peers import interfaces
from p2pfs.peers.interfaces import attached_subnets, follow_interfaces, lan_ips

EVERYWHERE = WILDCARDS[:1]


class Machine:
    """What psutil says of one whose interfaces have these addresses."""

    def __init__(self) -> None:
        self.ips: dict[str, str] = {}
        self.far_end: SimpleNamespace | None = None
        self.slept = 0.0
        self.fails = self.fails_to_tell_states = False

    def net_if_addrs(self) -> dict[str, list[SimpleNamespace]]:
        if self.fails:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        found = {name: [_entry(ip)] for name, ip in self.ips.items()}
        return found | ({"tun0": [self.far_end]} if self.far_end else {})

    def net_if_stats(self) -> dict[str, SimpleNamespace]:
        if self.fails_to_tell_states:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        state = SimpleNamespace(isup=True, flags="up,broadcast,running,multicast")
        return dict.fromkeys(self.ips, state)


def _entry(ip: str, **changes: object) -> SimpleNamespace:
    entry = {"family": socket.AF_INET, "address": ip, "netmask": "255.255.255.0", "ptp": None}
    return SimpleNamespace(**(entry | changes))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(interfaces, "psutil", made)
    monkeypatch.setattr(interfaces, "_slept_seconds", lambda: made.slept)
    return made


class Follower:
    """Follows the machine in a nursery; notes where `on_lan` was begun, and what was near then."""

    def __init__(self, nursery: trio.Nursery, *, discovers: bool = True) -> None:
        self.near = Neighbourhood()
        self.begun: list[Sequence[str]] = []
        on_lan = self._on_lan if discovers else None
        nursery.start_soon(follow_interfaces, self.near, EVERYWHERE, on_lan)

    async def _on_lan(self, ips: Sequence[str]) -> None:
        assert all(map(self.near.is_near, ips))
        self.begun.append(ips)
        await trio.sleep_forever()


def test_a_lan_is_a_private_subnet_that_is_listened_on(machine: Machine) -> None:
    machine.ips = {"eth1": "192.168.1.7", "eth0": "10.0.0.7", "ppp0": "8.8.8.8"}
    assert [str(subnet) for subnet in attached_subnets()] == ["10.0.0.0/24", "192.168.1.0/24"]
    assert lan_ips(EVERYWHERE) == ("10.0.0.7", "192.168.1.7")
    assert lan_ips(["10.0.0.7", "8.8.8.8"]) == ("10.0.0.7",)


def test_the_far_end_of_a_tunnel_is_near_if_it_is_an_ip(machine: Machine) -> None:
    machine.far_end = _entry("10.8.0.2", netmask=None, ptp="10.8.0.1")
    assert [str(subnet) for subnet in attached_subnets()] == ["10.8.0.1/32"]
    machine.far_end = _entry("", family=socket.AF_PACKET, netmask=None, ptp="00:00:00:00")
    assert attached_subnets() == ()


async def test_a_machine_that_moves_is_near_other_hosts_then(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        node = Follower(nursery)
        await trio.sleep(60)
        assert node.begun == [()]
        machine.ips = {"wlan0": "192.168.1.7"}
        await trio.sleep(60)
        assert node.near.is_near("192.168.1.9")
        assert node.near.counts("192.168.1.9", told_by="192.168.1.8")
        machine.ips = {"wlan0": "192.168.2.7", "eth0": "8.8.8.8"}
        await trio.sleep(60)
        assert node.near.is_near("192.168.2.9")
        assert not node.near.is_near("192.168.1.9")
        assert not node.near.counts("192.168.1.9", told_by="192.168.1.8")
        nursery.cancel_scope.cancel()
    assert node.begun == [(), ("192.168.1.7",), ("192.168.2.7",)]


async def test_what_is_near_is_known_before_anybody_is_looked_for(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    machine.ips = {"wlan0": "192.168.1.7"}  # came up after the node had looked first
    async with trio.open_nursery() as nursery:
        node = Follower(nursery)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert node.begun == [("192.168.1.7",)]


async def test_one_that_slept_may_be_elsewhere_with_the_same_address(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    machine.ips = {"wlan0": "192.168.1.7"}
    async with trio.open_nursery() as nursery:
        node = Follower(nursery)
        await trio.sleep(60)
        machine.slept = 3_600
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert node.begun == [("192.168.1.7",)] * 2


@pytest.mark.parametrize(
    "break_it",
    [
        lambda machine: setattr(machine, "fails", True),
        lambda machine: setattr(machine, "fails_to_tell_states", True),
    ],
)
async def test_a_look_that_fails_changes_nothing(
    machine: Machine, autojump_clock: trio.testing.MockClock, break_it: Callable[[Machine], None]
) -> None:
    machine.ips = {"wlan0": "192.168.1.7"}
    async with trio.open_nursery() as nursery:
        node = Follower(nursery)
        await trio.sleep(1)
        break_it(machine)
        await trio.sleep(60)
        assert node.near.is_near("192.168.1.9")
        nursery.cancel_scope.cancel()
    assert node.begun == [("192.168.1.7",)]


async def test_without_discovery_subnets_are_followed_all_the_same(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    machine.fails_to_tell_states = True  # which nobody asks for then
    async with trio.open_nursery() as nursery:
        node = Follower(nursery, discovers=False)
        await trio.sleep(60)
        assert not node.near.is_near("192.168.1.9")
        machine.ips = {"wlan0": "192.168.1.7"}
        await trio.sleep(60)
        assert node.near.is_near("192.168.1.9")
        nursery.cancel_scope.cancel()
    assert node.begun == []
