"""2,000 small files copied into share/ through the mount: published, then announced to others.

    python -m bench.bench_publish [--files 2000]

Counted from the start of `cp -r`: *published* is hashed and in the catalogue, and served;
*announced* is stored on another node as well, which runs behind.  Most files are published while
cp still copies, so a rate from its end would flatter.  Both nodes, cp and the questions share the
cores.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from bench.figures import Figures
from tools.samples import random_file
from tools.testbed import Node, testbed, wait_until

FILE_BYTES = 8 << 10
# Of one tag another node keeps 1,000 records: with one such node, more are never announced.
FOLDERS = 20
PUBLISHED_A_SECOND_BAR = 200
_PATIENCE_SECONDS = 120


def counts(node: Node) -> tuple[int, int]:
    """How many files are published, and how many of them announced."""
    shares = node.status().get("shares", [])
    return sum(share["cid"] is not None for share in shares), sum(
        share["state"] == "published" for share in shares
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    args = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, testbed(Path(folder)) as make:
        content = Path(folder) / "content"
        for number in range(args.files):
            group = number % FOLDERS
            file = content / f"folder{group}" / f"{number}.kind{group}"
            file.parent.mkdir(parents=True, exist_ok=True)
            random_file(file, FILE_BYTES, seed=number)
        other = make("B", mounted=False).start()
        node = make("A").start(other)
        node.wait_contacts(1)
        started = time.monotonic()
        subprocess.run(["cp", "-r", f"{content}/.", str(node.share)], check=True)
        copied = time.monotonic()
        wait_until(lambda: counts(node)[0] == args.files, _PATIENCE_SECONDS, "all published")
        done = time.monotonic()
        print(f"  cp took {copied - started:.1f} s, the rest {done - copied:.1f} s")
        whole = args.files / (done - started)
        print(f"  announced by then: {counts(node)[1]}", flush=True)
        wait_until(lambda: counts(node)[1] == args.files, _PATIENCE_SECONDS, "all announced")
        announced = args.files / (time.monotonic() - started)
    print(f"  announced on another node, from cp's start: {announced:.0f} files/s (no bar)")
    figures.at_least(
        f"{args.files} small files published from cp's start", whole, PUBLISHED_A_SECOND_BAR, "/s"
    )
    figures.end()


if __name__ == "__main__":
    main()
