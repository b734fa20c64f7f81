"""Machines of IPv4, of IPv6 and of both in one network, none of them near another.

A hub forwards between them; what they have no address for, they have no route to.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.e2e.conftest import MakeNode
from tests.e2e.test_on_the_wire import inside, ip
from tools.testbed import Node, wait_until

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

FORWARD = "echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"


@contextmanager
def hosts(*families: str) -> Iterator[list[str]]:
    """A namespace each, by its number of 11.NUMBER.0.1 and 2a0NUMBER::1; "4", "6" or "46"."""
    hub = f"p2pfs-{os.getpid()}hub"
    names = [f"p2pfs-{os.getpid()}h{number}" for number in range(1, len(families) + 1)]
    try:
        ip("netns", "add", hub)
        subprocess.run(inside(hub, "sh", "-c", FORWARD), check=True)
        for number, (name, has) in enumerate(zip(names, families, strict=True), 1):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            end = f"to{number}"
            ip(*f"-n {name} link add eth0 type veth peer name {end} netns {hub}".split())
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", hub, "link", "set", end, "up")
            if "4" in has:
                gateway, address = f"10.98.{number}.1", f"11.{number}.0.1"
                ip("-n", hub, "addr", "add", gateway, "peer", address, "dev", end)
                ip("-n", name, "addr", "add", address, "peer", gateway, "dev", "eth0")
                ip("-n", name, "route", "add", "11.0.0.0/8", "via", gateway, "src", address)
            if "6" in has:
                address = f"2a0{number}::1"
                ip("-n", hub, "addr", "add", "fe80::1/64", "dev", end, "nodad")
                ip("-n", hub, "route", "add", f"{address}/128", "dev", end)
                ip("-n", name, "addr", "add", f"{address}/128", "dev", "eth0", "nodad")
                ip("-n", name, "route", "add", "2a00::/8", "via", "fe80::1", "dev", "eth0")
        yield names
    finally:
        for name in (*names, hub):
            subprocess.run(["ip", "netns", "del", name], check=False)


def finds(node: Node, ids: list[str]) -> bool:
    return set(ids) <= set(node.run("search", "of").stdout.split())


def test_those_of_ipv4_and_those_of_ipv6_find_each_others_files(make_node: MakeNode) -> None:
    with hosts("46", "46", "4", "6") as (first, second, fourth, sixth):
        both = [
            make_node(
                name,
                mounted=False,
                netns=netns,
                ip=f"11.{number}.0.1",
                words=("--listen", f"[2a0{number}::1]:0"),
            )
            for number, (name, netns) in enumerate((("A", first), ("B", second)), 1)
        ]
        a = both[0].start()
        b = both[1].start(a)
        four = make_node("C", mounted=False, netns=fourth, ip="11.3.0.1").start(a)
        peer = ("--peer", f"[2a01::1]:{a.port}")
        six = make_node("D", mounted=False, netns=sixth, ip="2a04::1", words=peer).start()
        (four.share / "of-four.txt").write_text("by IPv4")
        (six.share / "of-six.txt").write_text("by IPv6")
        ids = [four.wait_published("of-four.txt"), six.wait_published("of-six.txt")]
        for node in (a, b, four, six):
            wait_until(partial(finds, node, ids), 20, "both files to be found")
        for cid in ids:
            assert b.run("get", cid, "-o", str(b.home / cid)).returncode == 0
        # B knows D, to whom A can name it by IPv4 alone.
        six.wait_contacts(2, 90)
        for node in (a, b, four, six):
            node.stop()
