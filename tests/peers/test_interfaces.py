"""A node follows the machine's interfaces; the system's lists of them are made up."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import trio

from p2pfs.addresses import WILDCARDS, Neighbourhood
from p2pfs.peers import interfaces
from p2pfs.peers.interfaces import attached_subnets, follow_interfaces, lan_ips

EVERYWHERE = WILDCARDS[:1]


class Machine:
    """What psutil says of one whose interfaces have these addresses."""

    def __init__(self, **ips: str) -> None:
        self.ips = ips

    def net_if_addrs(self) -> dict[str, list[SimpleNamespace]]:
        return {
            name: [
                SimpleNamespace(
                    family=socket.AF_INET, address=ip, netmask="255.255.255.0", ptp=None
                )
            ]
            for name, ip in self.ips.items()
        }

    def net_if_stats(self) -> dict[str, SimpleNamespace]:
        state = SimpleNamespace(isup=True, flags="up,broadcast,running,multicast")
        return dict.fromkeys(self.ips, state)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(interfaces, "psutil", made)
    return made


def test_a_lan_is_a_private_subnet_that_is_listened_on(machine: Machine) -> None:
    machine.ips = {"eth1": "192.168.1.7", "eth0": "10.0.0.7", "ppp0": "8.8.8.8"}
    assert [str(subnet) for subnet in attached_subnets()] == ["10.0.0.0/24", "192.168.1.0/24"]
    assert lan_ips(EVERYWHERE) == ["10.0.0.7", "192.168.1.7"]
    assert lan_ips(["10.0.0.7", "8.8.8.8"]) == ["10.0.0.7"]


async def test_a_machine_that_moves_is_near_other_hosts_then(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    near, seen = Neighbourhood(), list[Sequence[str]]()

    async def on_lan(ips: Sequence[str]) -> None:
        assert not ips or near.is_near(ips[0])
        seen.append(ips)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_interfaces, near, EVERYWHERE, on_lan)
        await trio.sleep(60)
        assert seen == [[]]
        machine.ips = {"wlan0": "192.168.1.7"}
        await trio.sleep(60)
        assert near.is_near("192.168.1.9")
        assert near.counts("192.168.1.9", told_by="192.168.1.8")
        machine.ips = {"wlan0": "192.168.2.7", "eth0": "8.8.8.8"}
        await trio.sleep(60)
        assert near.is_near("192.168.2.9")
        assert not near.is_near("192.168.1.9")
        assert not near.counts("192.168.1.9", told_by="192.168.1.8")
        nursery.cancel_scope.cancel()
    assert seen == [[], ["192.168.1.7"], ["192.168.2.7"]]


async def test_subnets_are_followed_without_lan_discovery(
    machine: Machine, autojump_clock: trio.testing.MockClock
) -> None:
    near = Neighbourhood(lan=())
    with trio.move_on_after(60):
        await follow_interfaces(near, EVERYWHERE, None)
    assert not near.is_near("192.168.1.9")
    machine.ips = {"wlan0": "192.168.1.7"}
    with trio.move_on_after(60):
        await follow_interfaces(near, EVERYWHERE, None)
    assert near.is_near("192.168.1.9")
