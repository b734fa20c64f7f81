"""One file of 1 GiB from three holders at once, and a piece out of its middle; loopback, TLS on.

    python -m bench.bench_parallel [--mib 1024] [--runs 3]

Every process (three holders, the reader, dd) shares this machine's cores.  MB are 10^6 bytes.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench.figures import Figures
from tools.samples import random_file
from tools.testbed import Node, testbed, wait_until

MIB = 1 << 20
MB_PER_SECOND_BAR = 100
SHARE_BAR_PERCENT = 15
MIDDLE_BAR_MIB = 6


def publish(holders: list[Node], content: Path) -> None:
    for holder in holders:
        (holder.share / "big").mkdir()
        shutil.copyfile(content, holder.share / "big" / "data.bin")
    for holder in holders:
        holder.wait_published("big/data.bin", seconds=120)


def read_cold(reader: Node, holders: list[Node], content: Path) -> tuple[float, float, float]:
    """MB/s of the whole file, MiB that a MiB out of the middle cost, smallest share in percent."""
    shutil.rmtree(reader.home / "cache", ignore_errors=True)
    shutil.rmtree(reader.home / "data", ignore_errors=True)
    reader.start(holders[-1])
    found = reader.mount / "by-tag" / "big" / "data.bin"
    wait_until(found.exists, 10, "the file listed")
    size = content.stat().st_size

    middle = size // 2 // MIB
    piece = subprocess.run(
        ["dd", f"if={found}", "bs=1M", "count=1", f"skip={middle}", "status=none"],
        capture_output=True,
        check=True,
    ).stdout
    with content.open("rb") as original:
        original.seek(middle * MIB)
        assert original.read(MIB) == piece
    cost = sum(reader.status()["fetched_bytes"].values()) / MIB

    started = time.monotonic()
    subprocess.run(["dd", f"if={found}", "of=/dev/null", "bs=1M", "status=none"], check=True)
    rate = size / (time.monotonic() - started) / 1e6
    fetched = reader.status()["fetched_bytes"]
    subprocess.run(["cmp", str(found), str(content)], check=True)
    reader.stop()
    shares = [fetched.get(peer, 0) * 100 / size for peer in peer_ids(holders)]
    return rate, cost, min(shares)


def peer_ids(nodes: list[Node]) -> list[str]:
    return [node.status()["peer_id"] for node in nodes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, testbed(Path(folder)) as make:
        content = Path(folder) / "content"
        random_file(content, args.mib * MIB, seed=11)
        holders: list[Node] = []
        for name in ("A", "B", "C"):
            holders.append(make(name, mounted=False).start(*holders[-1:]))
        for holder in holders:
            holder.wait_contacts(1)
        publish(holders, content)
        reader = make("D")
        runs = [read_cold(reader, holders, content) for _ in range(args.runs)]
    for rate, cost, share in runs:
        print(
            f"  run: {rate:.0f} MB/s, {cost:.2f} MiB for the middle, smallest share {share:.1f} %"
        )
    rates, costs, shares = zip(*runs, strict=True)
    figures.at_least(
        "three holders, whole file, median", statistics.median(rates), MB_PER_SECOND_BAR, "MB/s"
    )
    figures.at_least(
        "smallest share that a holder gave, worst run", min(shares), SHARE_BAR_PERCENT, "%"
    )
    figures.at_most("1 MiB from the middle, cold, worst run", max(costs), MIDDLE_BAR_MIB, "MiB")
    figures.end()


if __name__ == "__main__":
    main()
