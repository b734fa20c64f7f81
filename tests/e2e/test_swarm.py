"""Readers of one file whose only holder is slow feed each other."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.conftest import MakeNode
from tools.testbed import wait_until

pytestmark = pytest.mark.kernel

MIB = 1 << 20


def test_three_readers_of_a_slow_holder_take_less_than_two_copies_from_it(
    make_node: MakeNode,
) -> None:
    content = bytes(range(256)) * (24 * MIB // 256)
    content = b"".join(
        index.to_bytes(8, "big") + content[index * MIB + 8 : (index + 1) * MIB]
        for index in range(24)
    )
    holder = make_node("holder", mounted=False, environ={"P2PFS_LIMIT_UP": "4M"}).start()
    (holder.share / "big").mkdir()
    readers = [make_node(f"reader{number}").start(holder) for number in range(3)]
    (holder.share / "big" / "data.bin").write_bytes(content)
    holder.wait_published("big/data.bin")
    files = [reader.mount / "by-tag" / "big" / "data.bin" for reader in readers]
    for file in files:
        wait_until(file.exists, 10, f"{file} listed")
    copies = [
        subprocess.Popen(["dd", f"if={file}", f"of={file.parents[3] / 'copy'}", "bs=1M"])
        for file in files
    ]
    assert [copy.wait(60) for copy in copies] == [0, 0, 0]
    for file in files:
        assert (file.parents[3] / "copy").read_bytes() == content
    assert sum(reader.status()["served_bytes"] for reader in readers) > 24 * MIB
    assert holder.status()["served_bytes"] < 1.8 * 24 * MIB
