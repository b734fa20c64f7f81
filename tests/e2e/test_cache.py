"""A cache smaller than what is read: every byte right, the disk never fuller than allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode
from tools import samples
from tools.readers import MIB, allocated_bytes, sampling, wrong_reads
from tools.testbed import Node, wait_until

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


def test_pinned_files_stay_rotten_ones_are_found_and_the_rest_goes(
    make_node: MakeNode, tmp_path: Path
) -> None:
    publisher = make_node("A", mounted=False).start()
    reader = make_node("B", environ={"P2PFS_CACHE_SIZE": "16M"}).start(publisher)
    (publisher.share / "mix").mkdir()
    for name in ("kept", "other"):
        samples.random_file(publisher.share / "mix" / name, 3 * MIB, seed=len(name))
    kept, other = (publisher.wait_published(f"mix/{name}") for name in ("kept", "other"))
    listing = reader.mount / "by-tag" / "mix"
    wait_until((listing / "other").exists, 10, "the files listed")

    done = reader.run("pin", str(listing / "kept"))
    assert (done.returncode, done.stdout) == (0, f"{kept}\t{3 * MIB}\n"), done.stderr
    assert reader.run("pin").stdout == f"{kept}\t{3 * MIB}\t{3 * MIB}\t1\n"
    assert len((listing / "other").read_bytes()) == 3 * MIB

    freed = json.loads(reader.run("gc", "--json").stdout)
    assert freed["removed"] == 1
    assert freed["freed"] >= 3 * MIB
    assert reader.run("verify", other).returncode == 3
    assert reader.run("verify", kept).stdout == f"{kept}\t{3 * MIB}\tright\n"

    (file,) = (reader.home / "cache").rglob(f"{kept}*")
    with file.open("r+b") as rotten:
        rotten.seek(MIB)
        rotten.write(b"rotten")
    found = reader.run("verify", "--json")
    assert found.returncode == 6
    (verdict,) = json.loads(found.stdout)["contents"]
    assert verdict["checked"] == 3 * MIB - (256 << 10)
    assert "did not match" in verdict["wrong"]
    assert reader.run("verify").returncode == 0

    assert reader.run("pin", "bafkqabtimvwgy3yk").returncode == 0  # its bytes are in its name
    assert reader.run("unpin", kept).returncode == 0
    assert reader.run("unpin", kept).returncode == 3
    assert json.loads(reader.run("gc", "--json").stdout)["freed"] > 2 * MIB
    assert allocated_bytes(reader.home / "cache") == 0


def test_a_pinned_directory_is_kept_whole_and_gone_on_with_after_a_stop(
    make_node: MakeNode, tmp_path: Path
) -> None:
    publisher = make_node("A", mounted=False, environ={"P2PFS_LIMIT_UP": "4M"}).start()
    reader = make_node("B", environ={"P2PFS_CACHE_SIZE": "64M"}).start(publisher)
    album = publisher.share / "album"
    (album / "small").mkdir(parents=True)
    samples.random_file(album / "large", 12 * MIB, seed=1)
    for number in range(20):
        samples.random_file(album / "small" / f"{number:02}", 300_000 + number, seed=number)
    folder = publisher.run("cid", str(album)).stdout.split()[0]

    def is_served() -> bool:
        return publisher.status()["shares"] and reader.run("info", folder).returncode == 0

    wait_until(is_served, 30, "the directory served")
    pinning = reader.begin("pin", folder)
    wait_until(lambda: 2 * MIB < here(reader, folder) < 12 * MIB, 20, "some of it here")
    reader.kill()
    pinning.wait(20)
    publisher.wait_contacts(1)
    reader.start(publisher)
    wait_until(
        lambda: here(reader, folder) >= 12 * MIB + 20 * 300_000,
        60,
        "the rest of it here, by itself",
    )

    publisher.kill()
    assert json.loads(reader.run("gc", "--json").stdout)["freed"] < MIB
    reader.stop()
    reader.start()
    found = reader.mount / "by-hash" / folder
    assert max(path.name for path in (found / "small").iterdir()) == "19"
    assert reader.run("verify", f"{folder}/small").stdout.count("right") == 20
    assert reader.run("verify", str(found)).stdout.count("right") == 21
    for path in (found / "large", *(found / "small").iterdir()):
        assert path.read_bytes() == (album / path.relative_to(found)).read_bytes()
    assert json.loads(reader.run("unpin", "--json", folder).stdout) == {"contents": [folder]}
    assert reader.run("gc").returncode == 0
    assert reader.status()["cache"]["used"] == 0
    assert allocated_bytes(reader.home / "cache") == 0


def here(reader: Node, pin: str) -> int:
    """How many bytes of a pin are there."""
    pins = json.loads(reader.run("pin", "--json").stdout)["pins"]
    return sum(one["present"] for one in pins if one["cid"] == pin)
