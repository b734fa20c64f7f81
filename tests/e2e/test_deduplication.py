"""What another content here holds is not fetched again."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode
from tools.testbed import Node, wait_until

pytestmark = pytest.mark.kernel

MIB = 1 << 20


def chunks_known(node: Node) -> int:
    with closing(sqlite3.connect(node.home / "data" / "catalog.sqlite")) as catalog:
        return int(catalog.execute("SELECT count(DISTINCT prefix) FROM chunks").fetchone()[0])


def test_only_what_no_other_file_holds_is_fetched(make_node: MakeNode) -> None:
    dice = random.Random(5)
    old, new = dice.randbytes(24 * MIB), dice.randbytes(2 * MIB)
    publisher = make_node("A", mounted=False).start()
    reader = make_node("B", environ={"P2PFS_SEED": "none"}).start(publisher)
    for node, name, content in (
        (reader, "v1", old[: 12 * MIB]),
        (publisher, "v2", old[4 * MIB : 12 * MIB] + new + old[12 * MIB :]),
        (publisher, "v3", old[12 * MIB : 20 * MIB] + old[: 4 * MIB]),
    ):
        (node.share / "pair").mkdir(exist_ok=True)
        (node.share / "pair" / name).write_bytes(content)
        node.wait_published(f"pair/{name}")

    def served() -> int:
        return int(publisher.status()["served_bytes"])

    def read(name: str) -> bytes:
        found = reader.mount / "by-tag" / "pair" / name
        wait_until(found.exists, 10, f"{name} listed")
        return Path(found).read_bytes()

    before = served()
    assert read("v2") == old[4 * MIB : 12 * MIB] + new + old[12 * MIB :]
    assert 14 * MIB <= served() - before < 15 * MIB  # what is new, and the first leaf for the root
    wait_until(lambda: chunks_known(reader) >= 104, 10, "what was fetched noted")
    before = served()
    assert read("v3") == old[12 * MIB : 20 * MIB] + old[: 4 * MIB]
    assert served() - before < 3 * MIB  # what was asked for together with the root


def test_what_is_wholly_here_needs_no_peer(make_node: MakeNode) -> None:
    content = random.Random(6).randbytes(64 * MIB)
    alone = make_node("A").start()
    (alone.share / "data.bin").write_bytes(content)
    wait_until(lambda: any(s["cid"] for s in alone.status()["shares"]), 20, "hashed")
    leaf = alone.home / "leaf"
    leaf.write_bytes(content[3 * MIB : 3 * MIB + (256 << 10)])
    cid = alone.run("cid", str(leaf)).stdout.split()[0]
    assert (alone.mount / "by-hash" / cid).read_bytes() == leaf.read_bytes()
    half = alone.home / "half"  # a node of the file's: its first 174 leaves
    half.write_bytes(content[: 174 * (256 << 10)])
    cid = alone.run("cid", str(half)).stdout.split()[0]
    assert (alone.mount / "by-hash" / cid).read_bytes() == half.read_bytes()
