"""The two kinds of file that content lies in: a sparse one of the cache, and a share in place.

Blocking, but for `read_nowait` and `stamp`; any thread.  What of a file is there, and whether it
is right, is known to `object`.
"""

from __future__ import annotations

import errno
import logging
import os
from threading import Lock
from typing import TYPE_CHECKING

from p2pfs.errors import NoSpaceError
from p2pfs.store.columns import wrapped
from p2pfs.store.errors import CacheError, ShareChangedError
from p2pfs.store.holes import punch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from p2pfs.store.share import Share

# EFBIG is a file system whose files end below the content's size.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CACHE_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC

_log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Inode, size, mtime in ns modulo 2^64: as long as it stays, nobody has written to the file."""

ExactStamp = tuple[int, int, int, int]
"""With the ctime (as the mtime), which nobody can set back: what was hashed stays right with it."""


class Descriptor:
    """Closed when told so, but not while a thread is using it: its number could be another's."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._lock = Lock()
        self._users = 0
        self._closing = False

    def close(self) -> None:
        with self._lock:
            last = not self._users and not self._closing
            self._closing = True
        if last:
            os.close(self._number)

    def __enter__(self) -> int:
        with self._lock:
            if self._closing:
                raise CacheError("the file is closed")
            self._users += 1
        return self._number

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            last = not self._users and self._closing
        if last:
            os.close(self._number)


class CacheFile:
    """A sparse file of the content's size, which appears with its first write.

    Nothing is synced: what did not reach the disk will not match its hash.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._opening = Lock()
        self._descriptor: Descriptor | None = None

    def open_existing(self) -> bool:
        """Whether there is a file of that size; what it holds is still to be checked."""
        try:
            number = os.open(self._path, _CACHE_FILE)
        except OSError:
            return False
        if os.fstat(number).st_size != self._size:
            os.close(number)
            return False
        self._descriptor = Descriptor(number)
        return True

    def write(self, start: int, data: bytes | bytearray | memoryview) -> None:
        """Raises NoSpaceError and CacheError."""
        try:
            with self._opened() as number:
                written = os.pwrite(number, data, start)
                while written < len(data):
                    written += os.pwrite(number, memoryview(data)[written:], start + written)
        except OSError as error:
            raise _cache_error(error) from error

    def read_nowait(self, start: int, length: int) -> bytearray | None:
        """What is in the page cache; None if that is not all of it."""
        if self._descriptor is None:
            return bytearray() if not length else None
        with self._descriptor as number:
            return _read_nowait(number, start, length)

    def read(self, start: int, length: int) -> bytes:
        """Exactly that many bytes; raises CacheError."""
        if not length:
            return b""
        try:
            with self._existing() as number:
                content = os.pread(number, length, start)
        except OSError as error:
            raise _cache_error(error) from error
        if len(content) < length:
            raise CacheError(f"{self._path} was cut")
        return content

    def read_into(self, start: int, buffers: Sequence[memoryview]) -> None:
        """Fill the buffers, one after the other, from `start` on; raises CacheError."""
        try:
            with self._existing() as number:
                whole = _read_into(number, start, buffers)
        except OSError as error:
            raise _cache_error(error) from error
        if not whole:
            raise CacheError(f"{self._path} was cut")

    def punch(self, start: int, stop: int) -> None:
        """Give these blocks back to the disk; where it cannot take them, they stay."""
        if self._descriptor is None:
            return
        try:
            with self._descriptor as number:
                punch(number, start, stop)
        except OSError as error:
            _log.warning("%s stays as large as it is: %s", self._path, error)

    def stamp(self) -> ExactStamp | None:
        """None if there is no such file yet."""
        if self._descriptor is None:
            return None
        with self._descriptor as number:
            return exact_stamp_of(os.fstat(number))

    def close(self) -> None:
        if self._descriptor is not None:
            self._descriptor.close()

    def _existing(self) -> Descriptor:
        if self._descriptor is None:
            raise CacheError(f"{self._path} does not exist")
        return self._descriptor

    def _opened(self) -> Descriptor:
        if self._descriptor is None:
            with self._opening:
                if self._descriptor is None:
                    self._descriptor = Descriptor(self._create())
        return self._descriptor

    def _create(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = os.open(self._path, _CACHE_FILE | os.O_CREAT, 0o600)
        try:
            os.ftruncate(number, self._size)
        except OSError:
            os.close(number)
            raise
        return number


class ShareFile:
    """A published file, read where it lies.

    Each read looks before and after whether it still is the file that was published, and raises
    ShareChangedError if not: a write changes the mtime before it changes content.  Programs that
    put the mtime back (taggers do) are betrayed by the ctime, which a rename changes as well:
    `has_moved_on` tells when to hash again.
    """

    def __init__(self, share: Share, number: int) -> None:
        self._share = share
        self._ctime_ns = os.fstat(number).st_ctime_ns
        self._descriptor = Descriptor(number)

    @property
    def path(self) -> bytes:
        """Below the share folder."""
        return self._share.path

    def read_nowait(self, start: int, length: int) -> bytearray | None:
        with self._descriptor as number:
            self._verify(number)
            content = _read_nowait(number, start, length)
            self._verify(number)
        return content

    def read(self, start: int, length: int) -> bytes:
        with self._descriptor as number:
            self._verify(number)
            try:
                content = os.pread(number, length, start)
            except OSError as error:
                raise ShareChangedError(self._share.path) from error
            self._verify(number)
        if len(content) < length:
            raise ShareChangedError(self._share.path)
        return content

    def read_into(self, start: int, buffers: Sequence[memoryview]) -> None:
        with self._descriptor as number:
            self._verify(number)
            try:
                whole = _read_into(number, start, buffers)
            except OSError as error:
                raise ShareChangedError(self._share.path) from error
            self._verify(number)
        if not whole:
            raise ShareChangedError(self._share.path)

    @property
    def is_certain(self) -> bool:
        """Whether it is what was hashed; else somebody may have written and put the mtime back."""
        return wrapped(self._ctime_ns) == self._share.ctime_ns

    def has_moved_on(self) -> bool:
        """Whether its ctime is another than when this was called last, or when it was opened."""
        with self._descriptor as number:
            before, self._ctime_ns = self._ctime_ns, os.fstat(number).st_ctime_ns
        return before != self._ctime_ns

    def stamp(self) -> ExactStamp | None:
        """None if it is not the file any more that was published."""
        with self._descriptor as number:
            now = os.fstat(number)
        return exact_stamp_of(now) if now.st_nlink and self._share.is_of(now) else None

    def close(self) -> None:
        self._descriptor.close()

    def _verify(self, number: int) -> None:
        if not self._is_same(os.fstat(number)):
            raise ShareChangedError(self._share.path)

    def _is_same(self, now: os.stat_result) -> bool:
        same = now.st_ctime_ns == self._ctime_ns and self._share.is_of(now)
        return same and now.st_nlink > 0


def stamp_of(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, wrapped(status.st_mtime_ns)


def exact_stamp_of(status: os.stat_result) -> ExactStamp:
    return *stamp_of(status), wrapped(status.st_ctime_ns)


def _read_nowait(number: int, start: int, length: int) -> bytearray | None:
    """Linux' RWF_NOWAIT; None as well where the file system does not know it."""
    buffer = bytearray(length)
    try:
        got = os.preadv(number, (buffer,), start, os.RWF_NOWAIT)
    except OSError:
        return None
    return buffer if got == length else None


def _read_into(number: int, start: int, buffers: Sequence[memoryview]) -> bool:
    """Whether all buffers were filled."""
    return os.preadv(number, buffers, start) == sum(map(len, buffers))


def _cache_error(error: OSError) -> NoSpaceError | CacheError:
    if error.errno in _NO_SPACE:
        return NoSpaceError("the disk that holds the cache is full")
    return CacheError(f"the cache cannot be used: {error}")
