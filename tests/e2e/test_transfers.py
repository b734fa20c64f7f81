"""One file from several holders: fast, sparing, and right whatever they do."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode, start_chain
from tools import samples
from tools.testbed import Node, wait_until

pytestmark = pytest.mark.kernel

MIB = 1 << 20
READ_DEADLINE_SECONDS = 30


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish_on(holders: list[Node], content: Path, name: str) -> str:
    """Publish the same file on every holder; its content id."""
    for holder in holders:
        (holder.share / "big").mkdir(exist_ok=True)
        with content.open("rb") as source, (holder.share / "big" / name).open("wb") as target:
            while block := source.read(MIB):
                target.write(block)
    cids = {holder.wait_published(f"big/{name}", seconds=60) for holder in holders}
    assert len(cids) == 1
    return cids.pop()


def let_rot(holder: Node, peer: Node, path: str, offsets: Iterable[int]) -> None:
    """Flip bits of a published file as a bad disk does: nothing that stat(2) tells shows it."""
    holder.stop()
    data = holder.home / "data"
    real = data / "share" / path
    before = real.stat()
    with real.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))
    os.utime(real, ns=(before.st_atime_ns, before.st_mtime_ns))
    with closing(sqlite3.connect(data / "catalog.sqlite", isolation_level=None)) as catalog:
        moved = real.stat().st_ctime_ns, os.fsencode(path)
        catalog.execute("UPDATE shares SET ctime_ns = ? WHERE path = ?", moved)
    holder.start(peer)
    holder.wait_published(path)


def publishers(found: Path) -> list[bytes]:
    return os.getxattr(found, "user.p2pfs.publisher").split(b",")


def fetched(reader: Node) -> dict[str, int]:
    return {peer: int(count) for peer, count in reader.status()["fetched_bytes"].items()}


def test_three_holders_share_the_work_and_a_cold_middle_costs_little(
    make_node: MakeNode, tmp_path: Path
) -> None:
    size = 256 * MIB
    content = tmp_path / "content"
    samples.random_file(content, size, seed=1)
    *holders, reader = start_chain(make_node, 4)
    publish_on(holders, content, "data.bin")
    found = reader.mount / "by-tag" / "big" / "data.bin"
    wait_until(lambda: found.exists(), 5, "the file listed")

    with found.open("rb") as file, content.open("rb") as original:
        for source in (file, original):
            source.seek(size // 2 + 12_345)
        assert file.read(MIB) == original.read(MIB)
    assert sum(fetched(reader).values()) < 6 * MIB

    assert sha256(found) == sha256(content)
    shares = [count / size for count in fetched(reader).values()]
    assert len(shares) == 3
    assert min(shares) >= 0.15


def test_a_killed_holder_does_not_stop_a_read(make_node: MakeNode, tmp_path: Path) -> None:
    content = tmp_path / "content"
    samples.random_file(content, 64 * MIB, seed=2)
    *holders, reader = start_chain(make_node, 3)
    publish_on(holders, content, "data.bin")
    found = reader.mount / "by-tag" / "big" / "data.bin"
    wait_until(lambda: found.exists(), 5, "the file listed")
    digest = hashlib.sha256()
    with found.open("rb", buffering=0) as file:
        digest.update(file.read(4 * MIB))
        holders[1].kill()
        while block := file.read(MIB):
            digest.update(block)
    assert digest.hexdigest() == sha256(content)


def test_a_holder_of_wrong_bytes_is_named_and_the_others_deliver(
    make_node: MakeNode, tmp_path: Path
) -> None:
    content = tmp_path / "content"
    samples.random_file(content, 32 * MIB, seed=3)
    *holders, reader = start_chain(make_node, 3)
    publish_on(holders, content, "data.bin")
    offsets = range(100, 32 * MIB, MIB // 2)  # every run that it may be asked for holds a wrong bit
    let_rot(holders[1], holders[0], "big/data.bin", offsets)
    found = reader.mount / "by-tag" / "big" / "data.bin"
    wait_until(lambda: found.exists() and len(publishers(found)) == 2, 20, "both holders listed")
    assert sha256(found) == sha256(content)
    liar = holders[1].status()["peer_id"]
    wrong = {peer["peer_id"]: peer["wrong"] for peer in reader.status()["peers"]}
    assert wrong[liar] >= 1
    assert [peer for peer, count in wrong.items() if count] == [liar]


def test_with_only_wrong_holders_a_read_is_an_error_that_says_so(
    make_node: MakeNode, tmp_path: Path
) -> None:
    content = tmp_path / "content"
    samples.random_file(content, 2 * MIB, seed=4)
    holder, reader = start_chain(make_node, 2)
    publish_on([holder], content, "data.bin")
    let_rot(holder, reader, "big/data.bin", [MIB + 77])
    found = reader.mount / "by-tag" / "big" / "data.bin"
    wait_until(lambda: found.exists(), 5, "the file listed")
    started = time.monotonic()
    with pytest.raises(OSError) as caught, found.open("rb", buffering=0) as file:
        file.seek(MIB)
        file.read(256 * 1024)
    assert caught.value.errno == errno.EIO
    assert time.monotonic() - started < READ_DEADLINE_SECONDS
    said = os.getxattr(found, "user.p2pfs.last_error").decode()
    assert holder.status()["peer_id"] in said


def test_a_stuck_file_delays_no_other_call(make_node: MakeNode, tmp_path: Path) -> None:
    content = tmp_path / "content"
    samples.random_file(content, 8 * MIB, seed=5)
    holder, other, reader = start_chain(make_node, 3)
    publish_on([holder], content, "stuck.bin")
    (other.share / "quick.txt").write_bytes(b"quick")
    other.wait_published("quick.txt")
    stuck = reader.mount / "by-tag" / "big" / "stuck.bin"
    quick = reader.mount / "by-tag" / "text" / "quick.txt"
    wait_until(lambda: stuck.exists() and quick.exists(), 10, "both files listed")
    assert holder.process is not None
    os.kill(holder.process.pid, 19)  # SIGSTOP: there, and silent
    errors: list[OSError] = []

    def read_stuck() -> None:
        try:
            stuck.read_bytes()
        except OSError as error:
            errors.append(error)

    reading = threading.Thread(target=read_stuck)
    reading.start()
    try:
        started = time.monotonic()
        assert quick.read_bytes() == b"quick"
        os.listdir(reader.mount)
        os.statvfs(reader.mount)
        assert time.monotonic() - started < 2
        reading.join(READ_DEADLINE_SECONDS + 5)
        assert not reading.is_alive()
        assert errors
    finally:
        os.kill(holder.process.pid, 18)
        reading.join()
