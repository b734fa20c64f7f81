"""Making the cache's folder and its account agree, after whatever ended the last run.

A kill leaves what was written and not yet accounted for, what was on its way out, and accounts of
what had just gone.  Nothing here may be open.  What is right of the rest is found out when it is
read.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from p2pfs.content.intervals import Intervals
from p2pfs.store.holes import BLOCK_BYTES, blocks_of, punch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# stat(2), whatever the file system's block is.
_STAT_BLOCK_BYTES = 512

_log = logging.getLogger(__name__)


def sweep(
    folder: Path, accounts: Mapping[Path, Intervals]
) -> tuple[set[Path], dict[Path, Intervals]]:
    """Keep of each file below a folder what is present by its account, and no other file.

    The accounted files that are not there, and of those that have less than their account says,
    what they have.  Blocking.
    """
    missing, less = set(accounts), {}
    for file in cache_files(folder):
        if file not in accounts:
            with suppress(OSError):
                file.unlink()
            continue
        missing.discard(file)
        taken, accounted = _disk_bytes(file), blocks_of(accounts[file])
        if taken > accounted:
            _trim(file, accounts[file])
        elif taken < accounted:
            less[file] = _on_disk(file, accounts[file])
    return missing, less


def cache_files(folder: Path) -> list[Path]:
    """Every file of the cache, known or not; blocking."""
    return [path for path in folder.glob("*/*") if path.is_file() or path.is_symlink()]


def _trim(file: Path, present: Intervals) -> None:
    try:
        number = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        end = os.fstat(number).st_size
        for start, stop in present.gaps(0, end + -end % BLOCK_BYTES):
            first, last = start + -start % BLOCK_BYTES, stop - stop % BLOCK_BYTES
            if first < last:
                punch(number, first, last)
    except OSError as error:
        _log.warning("%s stays as large as it is: %s", file, error)
    finally:
        os.close(number)


def _on_disk(file: Path, present: Intervals) -> Intervals:
    """What is present by the account and lies in no hole."""
    found = Intervals()
    try:
        number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return found
    try:
        for start, stop in _data(number):
            for part in present.overlaps(start, stop):
                found.add(*part)
    finally:
        os.close(number)
    return found


def _data(number: int) -> Iterator[tuple[int, int]]:
    """What of an open file is no hole; lseek(2), SEEK_DATA."""
    stop = 0
    while True:
        try:
            start = os.lseek(number, stop, os.SEEK_DATA)
        except OSError:  # no more
            return
        stop = os.lseek(number, start, os.SEEK_HOLE)
        yield start, stop


def _disk_bytes(file: Path) -> int:
    try:
        return os.lstat(file).st_blocks * _STAT_BLOCK_BYTES
    except OSError:
        return 0
