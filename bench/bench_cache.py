"""A file far larger than the cache, read by four at once through a mount: two in sequence, two at
random.

    python -m bench.bench_cache [--mib 1024] [--quota-mib 200]

Every byte is compared; meanwhile the blocks that the cache's files really take of the disk are
summed up, a hundred times a second.  MiB are 2^20 bytes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from bench.figures import Figures
from tools.readers import MIB, sampling, wrong_reads
from tools.samples import random_file
from tools.testbed import testbed, wait_until

# What four readers can wait for at once, each for what the kernel asks for in one request.
IN_FLIGHT_MIB = 4
RANDOM_READS = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--quota-mib", type=int, default=200)
    args = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, testbed(Path(folder)) as make:
        content = Path(folder) / "content"
        random_file(content, args.mib * MIB, seed=17)
        holder = make("A", mounted=False).start()
        reader = make("B", environ={"P2PFS_CACHE_SIZE": f"{args.quota_mib}M"}).start(holder)
        (holder.share / "big").mkdir()
        shutil.copyfile(content, holder.share / "big" / "data.bin")
        holder.wait_published("big/data.bin", seconds=120)
        found = reader.mount / "by-tag" / "big" / "data.bin"
        wait_until(found.exists, 10, "the file listed")
        started = time.monotonic()
        with sampling(reader.home / "cache") as sampled:
            wrong = wrong_reads(found, content, RANDOM_READS)
        seconds = time.monotonic() - started
        fetched = sum(reader.status()["fetched_bytes"].values()) / MIB
    print(f"  {seconds:.0f} s, {fetched:.0f} MiB fetched, {sampled.samples} samples of the disk")
    figures.at_most("reads that gave a wrong byte or an error", wrong, 0, "")
    figures.at_least("samples of the disk", sampled.samples, 100, "")
    figures.at_most(
        "most that the cache took of the disk",
        sampled.peak / MIB,
        args.quota_mib + IN_FLIGHT_MIB,
        "MiB",
    )
    figures.end()


if __name__ == "__main__":
    main()
