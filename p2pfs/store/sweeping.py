"""Making the cache's folder agree with its account, after whatever ended the last run.

A kill leaves what was written and not yet accounted for, and what was on its way out.  Nothing
here may be open.  What is right of the rest is found out when it is read.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from p2pfs.store.holes import BLOCK_BYTES, blocks_of, punch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from p2pfs.content.intervals import Intervals

# stat(2), whatever the file system's block is.
_STAT_BLOCK_BYTES = 512

_log = logging.getLogger(__name__)


def sweep(folder: Path, accounts: Mapping[Path, Intervals]) -> tuple[int, set[Path]]:
    """Keep of each file below a folder what is present by its account, and no other file.

    The bytes of disk given back, and the accounted files that are not there.  Blocking.
    """
    freed = 0
    missing = set(accounts)
    for file in cache_files(folder):
        before = _disk_bytes(file)
        if file not in accounts:
            with suppress(OSError):
                file.unlink()
        else:
            missing.discard(file)
            if before > blocks_of(accounts[file]):
                _trim(file, accounts[file])
        freed += before - _disk_bytes(file)
    return freed, missing


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


def _disk_bytes(file: Path) -> int:
    try:
        return os.lstat(file).st_blocks * _STAT_BLOCK_BYTES
    except OSError:
        return 0
