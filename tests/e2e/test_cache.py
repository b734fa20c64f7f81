"""A cache smaller than what is read: every byte right, the disk never fuller than allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode
from tools import samples
from tools.readers import MIB, allocated_bytes, sampling, wrong_reads
from tools.testbed import wait_until

pytestmark = pytest.mark.kernel

QUOTA = 16 * MIB
# Four readers, each waiting for what the kernel asks for at once.
IN_FLIGHT = 4 * MIB


def test_four_readers_of_a_file_four_times_the_cache(make_node: MakeNode, tmp_path: Path) -> None:
    content = tmp_path / "content"
    samples.random_file(content, 64 * MIB, seed=7)
    publisher = make_node("A", mounted=False).start()
    reader = make_node("B", environ={"P2PFS_CACHE_SIZE": "16M"}).start(publisher)
    (publisher.share / "big").mkdir()
    (publisher.share / "big" / "data.bin").write_bytes(content.read_bytes())
    publisher.wait_published("big/data.bin")
    found = reader.mount / "by-tag" / "big" / "data.bin"
    wait_until(found.exists, 10, "the file listed")
    cache = reader.home / "cache"
    with sampling(cache) as sampled:
        assert wrong_reads(found, content, random_reads=40) == 0
    assert sampled.samples > 20
    assert sampled.peak > QUOTA // 2
    assert sampled.peak <= QUOTA + IN_FLIGHT
    status = reader.status()["cache"]
    assert status["quota"] == QUOTA
    assert status["used"] <= QUOTA
    wait_until(lambda: allocated_bytes(cache) <= QUOTA, 10, "the cache within its quota")
    assert found.stat().st_blocks * 512 <= QUOTA
