"""Reading a file once: its root CID, its leaves, its CRC-32, and what it says about itself.

Which files are read, and when, is for `ingest`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import stat
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from p2pfs.content.balanced import DEFAULT_PROFILE, DagBuilder
from p2pfs.errors import P2pfsError
from p2pfs.library.descriptions import with_media
from p2pfs.library.media import read_media
from p2pfs.store.files import exact_stamp_of
from p2pfs.store.share import Share, ShareState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2pfs.content.balanced import BuiltDag
    from p2pfs.library.media import Media

    OpenFile = Callable[[bytes], int]
    """A descriptor for reading of what is at a path; raises OSError."""

# A hop to a thread costs about 0.1 ms, hashing this much 3 ms: little lost, and soon cancelled.
_CHUNKS_A_HOP = 16
CHUNK_BYTES = DEFAULT_PROFILE.chunk_bytes


class UnsteadyError(P2pfsError):
    """The file is being written, or was replaced, while it was looked at."""


@dataclass(frozen=True, slots=True)
class SteadyFile:
    """A regular file that nobody was writing when it was opened."""

    fd: int
    path: bytes
    status: os.stat_result


@dataclass(frozen=True, slots=True)
class Hashed:
    """One state of a file; `leaves` are the SHA-256 of its chunks, in order.

    The ctime is that from before the first chunk: what moves it later is noticed.
    """

    file: SteadyFile
    dag: BuiltDag
    leaves: tuple[bytes, ...]
    crc32: int
    media: Media
    seconds: float

    def share(self, more_tags: tuple[str, ...]) -> Share:
        """The file as it is to be published."""
        ino, size, mtime_ns, ctime_ns = exact_stamp_of(self.file.status)
        share = Share(
            path=self.file.path,
            dev=self.file.status.st_dev,
            ino=ino,
            size=size,
            mtime_ns=mtime_ns,
            cid=self.dag.cid,
            crc32=self.crc32,
            mime="",
            name="",
            title="",
            tags=(),
            state=ShareState.ANNOUNCING,
            hash_seconds=self.seconds,
            ctime_ns=ctime_ns,
        )
        return with_media(share, self.media, more_tags)


def open_steady(open_file: OpenFile, path: bytes, *, told_open: bool) -> SteadyFile:
    """Open the file at `path` to be hashed; blocking.

    `told_open` counts where the kernel does not tell whether somebody writes.  Raises OSError,
    UnsteadyError.
    """
    fd = open_file(path)
    try:
        status = os.fstat(fd)
        _demand_steady(fd, status, told_open=told_open)
    except BaseException:
        os.close(fd)
        raise
    return SteadyFile(fd, path, status)


def begin_hashing(open_file: OpenFile, path: bytes, *, told_open: bool) -> Reading:
    """`open_steady`, and the first chunks: a small file is read whole by this.  Blocking.

    The file is to be closed by the caller.  Raises OSError, UnsteadyError.
    """
    file = open_steady(open_file, path, told_open=told_open)
    try:
        reading = Reading(file)
        reading.hash_some()
    except BaseException:
        os.close(file.fd)
        raise
    return reading


async def hash_rest(
    reading: Reading,
    limiter: trio.CapacityLimiter,
    give_way: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
) -> Hashed:
    """Read what is left of an open file, in threads; can be cancelled between hops.

    Before each hop it waits for `give_way`.  Raises OSError, and UnsteadyError if what was read is
    not one state of the file.
    """
    while reading.media is None:
        await give_way()
        await trio.to_thread.run_sync(reading.hash_some, limiter=limiter)
    seconds = time.monotonic() - reading.started
    leaves = tuple(reading.leaves) or (hashlib.sha256().digest(),)
    dag = reading.builder.finish()
    return Hashed(reading.file, dag, leaves, reading.crc32, reading.media, seconds)


def media_of(open_file: OpenFile, path: bytes) -> tuple[os.stat_result, Media]:
    """What a file says about itself, without hashing it; blocking; raises OSError."""
    fd = open_file(path)
    try:
        return os.fstat(fd), read_media(fd, _name(path))
    finally:
        os.close(fd)


class Reading:
    """How far a file has been read; used by one thread at a time.

    `media` is what it says about itself, once all of it was read and found to be one state.
    """

    def __init__(self, file: SteadyFile) -> None:
        self.file = file
        self._size = file.status.st_size
        self._at = 0
        self._buffer = memoryview(bytearray(min(CHUNK_BYTES, self._size)))
        self.builder = DagBuilder(DEFAULT_PROFILE)
        self.leaves: list[bytes] = []
        self.crc32 = 0
        self.media: Media | None = None
        self.started = time.monotonic()

    def hash_some(self) -> None:
        """Some chunks more; hashlib and zlib let other threads run meanwhile."""
        for _ in range(_CHUNKS_A_HOP):
            if self._at == self._size:
                self.media = _media_of_same(self.file)
                return
            chunk = self._buffer[: min(CHUNK_BYTES, self._size - self._at)]
            if os.preadv(self.file.fd, (chunk,), self._at) != len(chunk):
                raise UnsteadyError("it became shorter while it was read")
            self.crc32 = zlib.crc32(chunk, self.crc32)
            digest = hashlib.sha256(chunk).digest()
            self.leaves.append(digest)
            self.builder.add(digest, len(chunk))
            self._at += len(chunk)


def is_open_for_writing(fd: int) -> bool | None:
    """Whether any process has the file open for writing; None where the kernel does not tell.

    A read lease is refused while there is a writer (fcntl(2)).  It is held for microseconds; if a
    writer comes in those, it waits, and the signal is one that is ignored by default.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None  # another owner's file, or a file system without leases
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _demand_steady(fd: int, status: os.stat_result, *, told_open: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsteadyError("it is no regular file any more")
    written = is_open_for_writing(fd)
    if written or (written is None and told_open):
        raise UnsteadyError("a process has it open for writing")


def _media_of_same(file: SteadyFile) -> Media:
    media = read_media(file.fd, _name(file.path))
    after, before = os.fstat(file.fd), file.status
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise UnsteadyError("it was written to while it was read")
    return media


def _name(path: bytes) -> str:
    return os.fsdecode(os.path.basename(path))
