"""Holes: giving a file's blocks back to the disk from its middle, and which blocks can be given.

What may go is decided in `object` and `room`.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2pfs.content.intervals import Intervals

    Span = tuple[int, int]

# The block of ext4, XFS and btrfs.  Where it is larger, the edges of a hole stay on the disk.
BLOCK_BYTES = 4_096
# <linux/falloc.h>; `os` has only posix_fallocate, which cannot take anything away.
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02

_libc = ctypes.CDLL(None, use_errno=True)
# A 32-bit glibc keeps offsets of 64 bits for the one with the number; musl has only the other.
_fallocate = getattr(_libc, "fallocate64", None) or _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(number: int, start: int, stop: int) -> None:
    """Make `[start, stop)` of an open file a hole, its size unchanged; blocking, raises OSError."""
    if _fallocate(number, _PUNCH_HOLE | _KEEP_SIZE, start, stop - start):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def blocks_of(spans: Iterable[Span]) -> int:
    """The bytes of the blocks that hold something of these spans, sorted and disjoint."""
    blocks = end = 0
    for start, stop in spans:
        first, end = max(start // BLOCK_BYTES, end), -(-stop // BLOCK_BYTES)
        blocks += end - first
    return blocks * BLOCK_BYTES


def hole_around(gone: Span, needed: Intervals, size: int) -> Span:
    """The blocks that hold something of `gone` and nothing that is needed; perhaps none.

    Of a block at its edge that others share nothing is given back, until the last of them goes.
    """
    start, stop = gone
    first, last = start - start % BLOCK_BYTES, stop + -stop % BLOCK_BYTES
    if needed.overlaps(first, start):
        first += BLOCK_BYTES
    if needed.overlaps(stop, min(last, size)):
        last -= BLOCK_BYTES
    return first, last
