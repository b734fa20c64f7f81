"""Four readers of one file at once, and a look at what a node's cache really takes of the disk."""

from __future__ import annotations

import os
import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
_SAMPLE_SECONDS = 0.01
_STAT_BLOCK_BYTES = 512  # stat(2): whatever the file system's block is
_RANDOM_READ_BYTES = 256 << 10


@dataclass
class Sampled:
    """The most that was ever allocated, and how often it was looked."""

    peak: int = 0
    samples: int = 0


def allocated_bytes(cache: Path) -> int:
    """What the files below a folder take of the disk now."""
    total = 0
    for folder, _, names in os.walk(cache):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * _STAT_BLOCK_BYTES
            except FileNotFoundError:  # it has just gone
                continue
    return total


@contextmanager
def sampling(cache: Path) -> Iterator[Sampled]:
    """Look again and again while the block runs."""
    sampled = Sampled()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            sampled.peak = max(sampled.peak, allocated_bytes(cache))
            sampled.samples += 1

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield sampled
    finally:
        ended.set()
        watcher.join()


def wrong_reads(found: Path, content: Path, random_reads: int) -> int:
    """Read a file by two readers in sequence and two at random, all at once; how much was wrong."""
    size = content.stat().st_size
    in_sequence = [(at, MIB) for at in range(0, size, MIB)]
    wrong: list[int] = []
    readers = [
        threading.Thread(target=_read, args=(found, content, where, wrong))
        for where in (
            in_sequence,
            in_sequence[len(in_sequence) // 2 :] + in_sequence[: len(in_sequence) // 2],
            *(_random_places(size, random_reads, seed) for seed in (1, 2)),
        )
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return len(wrong)


def _random_places(size: int, count: int, seed: int) -> list[tuple[int, int]]:
    dice = random.Random(seed)
    return [(dice.randrange(size), _RANDOM_READ_BYTES) for _ in range(count)]


def _read(found: Path, content: Path, where: list[tuple[int, int]], wrong: list[int]) -> None:
    with found.open("rb", buffering=0) as file, content.open("rb") as original:
        for at, length in where:
            try:
                got = os.pread(file.fileno(), length, at)
            except OSError as error:
                got = str(error).encode()
            if got != os.pread(original.fileno(), length, at):
                wrong.append(at)
            # Else the kernel would answer whoever comes next, and the node's cache have no work.
            os.posix_fadvise(file.fileno(), at, length, os.POSIX_FADV_DONTNEED)
