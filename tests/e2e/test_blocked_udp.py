"""A machine behind a firewall that lets no UDP through takes part, and says why it is slow."""

from __future__ import annotations

import os
import socket
import time

import pytest

from tests.e2e.conftest import MakeNode
from tests.e2e.test_on_the_wire import ip, two_hosts
from tools.testbed import wait_until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

BLOCKED = "UDP is blocked: asking over HTTPS"


def block_udp(netns: str) -> None:
    """Drop what arrives, without a word; the rule must come before that for local addresses."""
    ip("-n", netns, "rule", "add", "pref", "10", "table", "local")
    ip("-n", netns, "rule", "del", "pref", "0")
    udp = str(socket.IPPROTO_UDP)  # a small machine has no list of names (/etc/protocols)
    ip("-n", netns, "rule", "add", "pref", "1", "ipproto", udp, "iif", "eth0", "blackhole")


def allow_udp(netns: str) -> None:
    ip("-n", netns, "rule", "del", "pref", "1")


def test_a_node_without_udp_publishes_and_finds_and_is_heard_when_udp_is_back(
    make_node: MakeNode,
) -> None:
    with two_hosts() as (here, there):
        block_udp(there)
        ada = make_node("A", mounted=False, netns=here, ip="10.93.0.1").start()
        cat = make_node("C", mounted=False, netns=here, ip="10.93.0.1").start(ada)
        ada.wait_contacts(1, 10)
        bob = make_node("B", mounted=False, netns=there, ip="10.93.0.2")
        started = time.monotonic()
        bob.start(ada).wait_contacts(2, 10)
        assert time.monotonic() - started < 8
        assert bob.status()["overlay"]["problem"] == BLOCKED
        assert bob.status()["overlay"]["mode"] == "client"
        (bob.share / "song.txt").write_text("from behind the wall")
        cid = bob.wait_published("song.txt")
        assert bob.run("doctor").stdout.count(BLOCKED) == 1
        assert cid in cat.run("search", "song").stdout
        assert [node.status()["overlay"]["contacts"] for node in (ada, cat)] == [1, 1]
        allow_udp(there)
        wait_until(lambda: not bob.status()["overlay"]["problem"], 15, "UDP to be noticed")
        for node in (ada, cat):
            node.wait_contacts(2, 40)
        for node in (ada, bob, cat):
            node.stop()
