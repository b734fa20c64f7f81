"""Eight readers of a file whose only holder sends 20 MB/s: do they feed each other?  Loopback.

    python -m bench.bench_swarm [--mib 256] [--readers 8] [--rate 20]

First one reader alone, then all at once, then all at once without seeding; each reader reads
through a mount of its own.  All processes share this machine's cores.  MB are 10^6 bytes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.figures import Figures
from tools.samples import random_file
from tools.testbed import Node, testbed, wait_until

MIB = 1 << 20
# The last of eight ends within so many times what one alone takes.
FACTOR_BAR = 2.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--rate", type=int, default=20, help="MB/s that the holder sends")
    args = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, testbed(Path(folder)) as make:
        content = Path(folder) / "content"
        random_file(content, args.mib * MIB, seed=13)
        limit = {"P2PFS_LIMIT_UP": str(args.rate * 1_000_000)}
        holder = make("holder", mounted=False, environ=limit).start()
        names = [f"reader{number}" for number in range(args.readers)]
        readers = [make(name) for name in names]
        readers[0].start(holder)
        (holder.share / "big").mkdir()
        shutil.copyfile(content, holder.share / "big" / "data.bin")
        holder.wait_published("big/data.bin", seconds=120)
        readers[0].stop()

        alone = read_all(readers[:1], holder, content)
        print(f"  one alone: {alone:.1f} s, {args.mib * MIB / alone / 1e6:.1f} MB/s", flush=True)
        together = read_all(readers, holder, content)
        for reader in readers:
            reader.environ["P2PFS_SEED"] = "none"
        apart = read_all(readers, holder, content)
        print(f"  {args.readers} without seeding: {apart:.1f} s, {apart / alone:.2f} x", flush=True)
    figures.at_most(
        f"the last of {args.readers} readers, against one alone", together / alone, FACTOR_BAR, "x"
    )
    figures.end()


def read_all(readers: list[Node], holder: Node, content: Path) -> float:
    """Seconds until the last of them has read all, each beginning cold."""
    for reader in readers:
        shutil.rmtree(reader.home / "cache", ignore_errors=True)
        shutil.rmtree(reader.home / "data", ignore_errors=True)
        reader.start(holder)
    files = [reader.mount / "by-tag" / "big" / "data.bin" for reader in readers]
    for file in files:
        wait_until(file.exists, 30, f"{file} listed")
    served = holder.status()["served_bytes"]
    began = time.monotonic()
    copies = [
        subprocess.Popen(["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"])
        for file in files
    ]
    codes = [copy.wait(600) for copy in copies]
    seconds = time.monotonic() - began
    assert not any(codes)
    given = (holder.status()["served_bytes"] - served) / content.stat().st_size
    print(
        f"  {len(readers)} readers: {seconds:.1f} s; the holder sent the file {given:.2f} times",
        flush=True,
    )
    subprocess.run(["cmp", str(files[-1]), str(content)], check=True)
    for reader in readers:
        reader.stop()
    return seconds


if __name__ == "__main__":
    main()
