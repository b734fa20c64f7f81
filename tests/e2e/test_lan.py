"""Machines on one cable find each other without being told."""

from __future__ import annotations

import os
import time

import pytest

from p2pfs.addresses import WILDCARDS
from tests.e2e.conftest import MakeNode
from tests.e2e.test_on_the_wire import ip, two_hosts

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


def test_nodes_on_one_lan_find_each_other_unless_one_does_not_want_to(make_node: MakeNode) -> None:
    with two_hosts() as (here, there):
        ada = make_node("A", mounted=False, netns=here, ip="10.93.0.1").start()
        shy = make_node("C", mounted=False, netns=there, ip="10.93.0.2")
        shy.environ["P2PFS_LAN_DISCOVERY"] = "no"
        shy.start()
        bob = make_node("B", mounted=False, netns=there, ip="10.93.0.2").start()
        started = time.monotonic()
        for node in (ada, bob):
            node.wait_contacts(1, 10)
        assert time.monotonic() - started < 5
        assert [node.status()["overlay"]["contacts"] for node in (ada, bob, shy)] == [1, 1, 0]
        for node in (ada, bob, shy):
            node.stop()


def test_a_node_whose_cable_is_plugged_in_later_finds_the_lan_then(make_node: MakeNode) -> None:
    with two_hosts() as (here, there):
        ip("-n", here, "addr", "flush", "dev", "eth0")
        ada = make_node("A", mounted=False, netns=here, ip=WILDCARDS[0]).start()
        bob = make_node("B", mounted=False, netns=there, ip="10.93.0.2").start()
        assert ada.status()["overlay"]["contacts"] == 0
        ip("-n", here, "addr", "add", "10.93.0.1/24", "dev", "eth0")
        for node in (ada, bob):
            node.wait_contacts(1, 15)
        for node in (ada, bob):
            node.stop()
