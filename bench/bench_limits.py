"""How well `limit_up` and `limit_down` hold between two nodes, and what they cost when off.

`python -m bench.bench_limits`; both nodes are real processes on this machine.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.figures import Figures
from tools import samples
from tools.testbed import Node, testbed

MIB = 1 << 20
RATE = 8 * MIB
SECONDS = 5


def main() -> None:
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder, testbed(Path(folder)) as make:
        free = make("free").start()
        slow = make("slow", environ={"P2PFS_LIMIT_UP": "8M"}).start(free)
        for node in (free, slow):
            samples.random_file(node.share / "f.bin", SECONDS * RATE, seed=node.port)
        cids = {node.home: node.wait_published("f.bin", 60) for node in (free, slow)}
        reader = make("reader").start(free, slow)
        capped = make("capped", environ={"P2PFS_LIMIT_DOWN": "8M"}).start(free)
        up = read_rate(reader, cids[slow.home])
        down = read_rate(capped, cids[free.home])
        off = read_rate(reader, cids[free.home])
    for name, rate in (("limit_up = 8M", up), ("limit_down = 8M", down)):
        figures.at_most(f"{name}: MiB/s over {SECONDS} s", rate, 8 * 1.1, "MiB/s")
        figures.at_least(f"{name}: MiB/s over {SECONDS} s", rate, 8 * 0.9, "MiB/s")
    figures.at_least("no limit: MiB/s of the same file", off, 64, "MiB/s")
    figures.end()


def read_rate(reader: Node, cid: str) -> float:
    """MiB a second of one cold read through the mount."""
    started = time.monotonic()
    content = (reader.mount / "by-hash" / cid).read_bytes()
    return len(content) / MIB / (time.monotonic() - started)


if __name__ == "__main__":
    main()
