"""`ls -l` of a tag with 1,000 files of 40 publishers, stored on three nodes; a fourth one reads.

    python -m bench.bench_listing [--files 1000] [--runs 3]

With more files than a key holds, as many as a listing may (10,000), they lie in the tag's shards
too, and all must be listed by the second `ls -l`.

The records are signed here and stored through the public protocol.  Each run has a reader that
knows nothing: its first `ls -l` asks the network, its second follows at once.
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
from p2pfs.dht.subjects import RULES
from p2pfs.dht.subjects import TAG as TAG_KIND
from tools.records import publisher, signed_meta, store, store_in_shards
from tools.testbed import Node, testbed

TAG = "bench"
ROWS = RULES[TAG_KIND].rows_per_key
PUBLISHERS = 40
FIRST_BAR_SECONDS = 2.0
AGAIN_BAR_SECONDS = 0.1


def records(count: int) -> list[bytes]:
    """As a music collection has them: ten tags and a title each."""
    return [
        signed_meta(
            publisher(number % PUBLISHERS),
            b"content %d" % number,
            name=f"{number:04d} Some Title of Usual Length.mp3",
            mime="audio/mpeg",
            size=5_000_000 + number,
            tags=sorted(
                {
                    TAG,
                    "audio",
                    "music",
                    "mp3",
                    "genre:jazz",
                    "year:1969",
                    f"album:album-{number // 10}",
                    f"artist:artist-{number // 100}",
                    f"title:some-title-of-usual-length-{number}",
                }
            ),
        )
        for number in range(count)
    ]


def listed(folder: Path) -> tuple[float, int]:
    """Seconds that `ls -l` takes, and how many files it shows."""
    started = time.monotonic()
    shown = subprocess.run(["ls", "-l", str(folder)], capture_output=True, check=True).stdout
    return time.monotonic() - started, shown.count(b"\n") - 1


def read_cold(reader: Node, holders: list[Node], count: int) -> tuple[float, float]:
    """Seconds of the first and of the second `ls -l` of a reader that has met nothing yet."""
    for part in ("cache", "data"):
        shutil.rmtree(reader.home / part, ignore_errors=True)
    reader.start(holders[-1])
    reader.wait_contacts(len(holders))
    folder = reader.mount / "by-tag" / TAG
    (first, shown), (again, shown_again) = listed(folder), listed(folder)
    print(
        f"  listed {shown} after {first:.2f} s, {shown_again} after {again:.2f} s more", flush=True
    )
    assert shown_again == count, f"{shown}, then {shown_again} of {count} files"
    assert shown == count or count > ROWS, f"{shown} of {count} files"
    reader.stop()
    return first, again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, testbed(Path(folder)) as make:
        holders: list[Node] = []
        for name in ("A", "B", "C"):
            holders.append(make(name, mounted=False).start(*holders[-1:]))
        values = records(args.files)
        kept = store(TAG, values, holders)
        assert kept == [min(args.files, ROWS)] * len(holders) or args.files > ROWS, f"kept {kept}"
        if args.files > ROWS:
            kept = store_in_shards(TAG, values, holders)
            assert kept == [args.files] * len(holders), f"kept {kept}"
        reader = make("D")
        runs = [read_cold(reader, holders, args.files) for _ in range(args.runs)]
    for first, again in runs:
        print(f"  run: first {first:.2f} s, again {again:.3f} s")
    firsts, agains = zip(*runs, strict=True)
    if args.files <= ROWS:  # else the bar is that all are listed, as seen above
        name = f"ls -l of {args.files} files, median,"
        figures.at_most(f"{name} first", statistics.median(firsts), FIRST_BAR_SECONDS, "s")
        figures.at_most(f"{name} again", statistics.median(agains), AGAIN_BAR_SECONDS, "s")
    figures.end()


if __name__ == "__main__":
    main()
