"""A directory of 1,000 files of 300 KiB: published, and listed cold on another node, near and far.

    python -m bench.bench_folder [--files 1000]        (root: network namespaces and TUN)

The link is `lab/delaylink.py`, 50 ms there and back.  Kubo's mount takes 41 s on loopback.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench.bench_far import FAR, MIB, NEAR, long_link, received_bytes
from bench.figures import Figures
from tools.samples import random_file
from tools.testbed import testbed, wait_until

FILE_BYTES = 300 * 1024
LISTED_BAR_SECONDS = 4
WIRE_BAR_MIB = 4


def folder_cid(folder: Path) -> str:
    """The content id of a directory in share/, once it is published."""

    def published() -> bool:
        return os.getxattr(folder, "user.p2pfs.state") == b"published"

    wait_until(published, 120, f"{folder} published")
    return os.getxattr(folder, "user.p2pfs.cid").decode()


def seconds_to_list(folder: Path, files: int) -> float:
    started = time.monotonic()
    listed = subprocess.run(["ls", "-l", folder], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    sizes = [line.split()[4] for line in listed.stdout.splitlines()[1:]]
    assert sizes == [str(FILE_BYTES)] * files
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000)
    args = parser.parse_args()
    figures = Figures()
    with (
        long_link() as (near, far),
        tempfile.TemporaryDirectory(dir="/var/tmp") as home,
        testbed(Path(home)) as make,
    ):
        album = Path(home) / "album"
        album.mkdir()
        for index in range(args.files):
            random_file(album / f"{index:04}.bin", FILE_BYTES, seed=index)
        holder = make("A", netns=far, ip=FAR).start()
        neighbour = make("C", netns=far, ip=FAR).start(holder)
        reader = make("B", netns=near, ip=NEAR).start(holder)
        holder.wait_contacts(2)
        subprocess.run(["cp", "-r", album, holder.share], check=True)
        cid = folder_cid(holder.share / "album")
        near_seconds = seconds_to_list(neighbour.mount / "by-hash" / cid, args.files)
        before = received_bytes(near)
        far_seconds = seconds_to_list(reader.mount / "by-hash" / cid, args.files)
        time.sleep(1)
        wire = (received_bytes(near) - before) / MIB
    figures.at_most("ls -l, cold, no delay", near_seconds, LISTED_BAR_SECONDS, "s")
    figures.at_most("ls -l, cold, 50 ms away", far_seconds, LISTED_BAR_SECONDS, "s")
    figures.at_most("all that the link carried for it", wire, WIRE_BAR_MIB, "MiB")
    figures.end()


if __name__ == "__main__":
    main()
