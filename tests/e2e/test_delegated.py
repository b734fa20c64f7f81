"""Nodes that share no overlay, and find each other's content through their gateways."""

from __future__ import annotations

import json
import os

import pytest

from tests.e2e.conftest import MakeNode
from tools.testbed import Node, wait_until

pytestmark = pytest.mark.kernel


def url_of(node: Node) -> str:
    return f"https://{node.status()['peer_id']}@{node.address}"


def ask(node: Node, *routers: str) -> None:
    """Start it anew with these routers, at the port it had."""
    node.stop()
    node.environ["P2PFS_DELEGATED"] = " ".join(routers)
    node.start()


def share(node: Node, content: bytes) -> str:
    (node.share / "file.bin").write_bytes(content)

    def cid() -> str | None:
        return next(iter(node.status()["shares"]), {}).get("cid")

    return str(wait_until(cid, 20, "the file to be hashed"))


def test_two_nodes_that_only_name_each_other_as_routers_read_each_others_files(
    make_node: MakeNode,
) -> None:
    contents = os.urandom(700_000), os.urandom(700_000)
    ada, bob = make_node("A").start(), make_node("B").start()
    cids = share(ada, contents[0]), share(bob, contents[1])
    urls = url_of(ada), url_of(bob)
    ask(ada, urls[1])
    ask(bob, "http://127.0.0.1:1", urls[0])
    assert (bob.mount / "by-hash" / cids[0]).read_bytes() == contents[0]
    assert (ada.mount / "by-hash" / cids[1]).read_bytes() == contents[1]
    for node in (ada, bob):
        assert node.status()["overlay"]["contacts"] == 0

    dead, alive = bob.status()["delegated"]
    assert alive == {"url": urls[0], "asked": 1, "found": 1, "last_error": ""}
    assert dead["asked"] == 1
    assert dead["last_error"].startswith("http://127.0.0.1:1: ")
    assert dead["last_error"] in bob.run("status").stdout
    assert json.loads(bob.run("peers", "--json").stdout)["delegated"] == [dead, alive]
    routers = [each for each in bob.run("doctor").stdout.splitlines() if "\trouter\t" in each]
    assert [each.partition("\t")[0] for each in routers] == ["warn", "ok"]
