"""One holder behind a link of 50 ms round trip: 256 MiB, the first byte, a piece of the middle.

    python -m bench.bench_far [--mib 256] [--runs 3]        (root: network namespaces and TUN)

The link is `lab/delaylink.py`: it adds delay, not a rate.  MB are 10^6 bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figures
from tools.samples import random_file
from tools.testbed import Node, testbed, wait_until

MIB = 1 << 20
MIDDLE_BAR_MIB = 6
MB_PER_SECOND_BAR = 40  # one TCP connection gives 56, Kubo's mount 12
FIRST_BYTE_BAR_MS = 400
DELAY_MS = 25
NEAR, FAR = "10.94.0.1", "10.94.0.2"


@contextmanager
def long_link() -> Iterator[tuple[str, str]]:
    """Two network namespaces with the slow link between them."""
    names = f"p2pfs-{os.getpid()}n", f"p2pfs-{os.getpid()}f"
    link = None
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        sides = f"{names[0]}:far0:{NEAR}", f"{names[1]}:near0:{FAR}"
        script = str(Path(__file__).parent / "lab" / "delaylink.py")
        words = ["--a", sides[0], "--b", sides[1], "--delay-ms", str(DELAY_MS), "--stdin"]
        link = subprocess.Popen(
            [sys.executable, script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert link.stdout is not None
        assert link.stdout.readline().strip() == b"up"
        yield names
    finally:
        if link is not None:
            link.communicate()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def received_bytes(netns: str) -> int:
    """Everything that came over the link, headers and all."""
    words = ["ip", "netns", "exec", netns, "cat", "/sys/class/net/far0/statistics/rx_bytes"]
    return int(subprocess.run(words, capture_output=True, check=True).stdout)


def read_cold(reader: Node, holder: Node, content: Path) -> tuple[float, float, float]:
    """MB/s of the big file, ms to the first byte of a known small one, MiB for 1 MiB of the middle.

    The last counts every byte that the link delivered.
    """
    shutil.rmtree(reader.home / "cache", ignore_errors=True)
    shutil.rmtree(reader.home / "data", ignore_errors=True)
    reader.start(holder)
    listing = reader.mount / "by-tag" / "big"
    wait_until(lambda: len(os.listdir(listing)) == 2, 20, "both files listed")

    started = time.monotonic()
    with (listing / "first.bin").open("rb", buffering=0) as file:
        file.read(1)
    first_byte = (time.monotonic() - started) * 1000

    found = listing / "data.bin"
    assert reader.netns is not None
    before = received_bytes(reader.netns)
    with found.open("rb") as file:
        file.seek(content.stat().st_size // 2 + 12_345)
        file.read(MIB)
    time.sleep(1)  # what was asked ahead arrives
    cost = (received_bytes(reader.netns) - before) / MIB

    started = time.monotonic()
    subprocess.run(["dd", f"if={found}", "of=/dev/null", "bs=1M", "status=none"], check=True)
    rate = content.stat().st_size / (time.monotonic() - started) / 1e6
    subprocess.run(["cmp", str(found), str(content)], check=True)
    reader.stop()
    return rate, first_byte, cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    figures = Figures()
    with (
        long_link() as (near, far),
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        testbed(Path(folder)) as make,
    ):
        content = Path(folder) / "content"
        random_file(content, args.mib * MIB, seed=12)
        holder = make("A", mounted=False, netns=far, ip=FAR).start()
        reader = make("B", netns=near, ip=NEAR).start(holder)
        holder.wait_contacts(1)
        (holder.share / "big").mkdir()
        shutil.copyfile(content, holder.share / "big" / "data.bin")
        random_file(holder.share / "big" / "first.bin", 8 * MIB, seed=13)
        for name in ("data.bin", "first.bin"):
            holder.wait_published(f"big/{name}", seconds=60)
        reader.stop()
        runs = [read_cold(reader, holder, content) for _ in range(args.runs)]
    for rate, first_byte, cost in runs:
        print(
            f"  run: {rate:.0f} MB/s, first byte after {first_byte:.0f} ms, middle {cost:.2f} MiB"
        )
    rates, first_bytes, costs = zip(*runs, strict=True)
    figures.at_least(
        "50 ms away, whole file, median", statistics.median(rates), MB_PER_SECOND_BAR, "MB/s"
    )
    figures.at_most(
        "50 ms away, first byte of a known file, median",
        statistics.median(first_bytes),
        FIRST_BYTE_BAR_MS,
        "ms",
    )
    figures.at_most(
        "1 MiB from the middle, cold, all that the link carried", max(costs), MIDDLE_BAR_MIB, "MiB"
    )
    figures.end()


if __name__ == "__main__":
    main()
