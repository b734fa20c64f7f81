"""What is here stays here without a network, and across a restart."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode, start_chain
from tools import samples
from tools.testbed import wait_until

pytestmark = pytest.mark.kernel

MIB = 1 << 20


def test_without_a_network_everything_fetched_or_shared_is_still_there(
    make_node: MakeNode, tmp_path: Path
) -> None:
    whole, part = samples.mp3(artist="x", title="whole", album="y", frames=9000), tmp_path / "part"
    samples.random_file(part, 24 * MIB, seed=6)
    publisher, reader = start_chain(make_node, 2)
    (publisher.share / "mix").mkdir()
    (publisher.share / "mix" / "whole.mp3").write_bytes(whole)
    (publisher.share / "mix" / "part.bin").write_bytes(part.read_bytes())
    (reader.share / "mine.txt").write_bytes(b"mine")
    cid = publisher.wait_published("mix/whole.mp3")
    publisher.wait_published("mix/part.bin")
    reader.wait_published("mine.txt")
    listing = reader.mount / "by-tag" / "mix"
    wait_until(lambda: len(os.listdir(listing)) == 2, 5, "both listed")
    assert (listing / "whole.mp3").read_bytes() == whole
    with (listing / "part.bin").open("rb", buffering=0) as file:
        file.read(MIB)

    assert reader.stop() == 128 + signal.SIGTERM
    assert not os.path.ismount(reader.mount)
    publisher.kill()
    reader.start()

    started = time.monotonic()
    assert sorted(os.listdir(reader.mount)) == [
        "README.txt",
        "by-hash",
        "by-tag",
        "search",
        "share",
    ]
    assert os.listdir(reader.share) == ["mine.txt"]
    assert (reader.share / "mine.txt").read_bytes() == b"mine"
    assert sorted(os.listdir(listing)) == ["part.bin", "whole.mp3"]
    assert time.monotonic() - started < 1  # all of these together
    assert (listing / "whole.mp3").read_bytes() == whole
    assert (reader.mount / "by-hash" / cid).read_bytes() == whole

    started = time.monotonic()
    with pytest.raises(OSError) as caught, (listing / "part.bin").open("rb", buffering=0) as file:
        file.seek(20 * MIB)
        file.read(1)
    assert caught.value.errno in {errno.EHOSTUNREACH, errno.ENODATA, errno.ETIMEDOUT}
    assert time.monotonic() - started < 30


def test_what_was_done_to_a_share_while_its_node_was_stopped_is_noticed(
    make_node: MakeNode, tmp_path: Path
) -> None:
    publisher, reader = start_chain(make_node, 2)
    elsewhere = tmp_path / "elsewhere" / "far.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"far")
    (publisher.share / "near.txt").write_bytes(b"near")
    (publisher.share / "edited.txt").write_bytes(b"first edition")
    assert publisher.run("publish", str(elsewhere), "--wait").returncode == 0
    first = publisher.wait_published("edited.txt")
    publisher.wait_published("near.txt")
    publisher.stop()

    folder = publisher.home / "data" / "share"
    for file in (folder / "near.txt", elsewhere):
        subprocess.run(["setfattr", "-n", "user.xdg.tags", "-v", "late", file], check=True)
    before = (folder / "edited.txt").stat()
    with (folder / "edited.txt").open("r+b") as file:
        file.write(b"other edition")
    os.utime(folder / "edited.txt", ns=(before.st_atime_ns, before.st_mtime_ns))

    publisher.start(reader)
    late = reader.mount / "by-tag" / "late"
    wait_until(lambda: sorted(os.listdir(late)) == ["far.txt", "near.txt"], 20, "the new tags")
    assert {(late / name).read_bytes() for name in os.listdir(late)} == {b"near", b"far"}
    wait_until(lambda: publisher.wait_published("edited.txt") != first, 20, "the other edition")
    cid = publisher.wait_published("edited.txt")
    assert (reader.mount / "by-hash" / cid).read_bytes() == b"other edition"


def test_a_killed_node_starts_again_without_help_and_serves_its_shares(make_node: MakeNode) -> None:
    publisher, reader = start_chain(make_node, 2)
    (publisher.share / "a.txt").write_bytes(b"still here " * 50_000)
    publisher.wait_published("a.txt")
    assert publisher.process is not None
    publisher.process.send_signal(signal.SIGKILL)
    publisher.process.wait()
    publisher.start(reader)  # its mount is dead: "transport endpoint is not connected"
    cid = publisher.wait_published("a.txt")
    assert (reader.mount / "by-hash" / cid).read_bytes() == b"still here " * 50_000
