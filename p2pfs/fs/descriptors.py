"""System calls on an open descriptor: of a file, or by O_PATH of any entry of a folder.

Blocking, so called in threads, but for `read_nowait`.  Finding an entry is for `folder`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RENAME_NOREPLACE = 1  # renameat2(2); the os module has neither
RENAME_EXCHANGE = 2
# An entry itself, whatever it is: nothing is opened by this, and no link is followed.
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Changes:
    """New attributes of an entry; None leaves one as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class Descriptor:
    """A descriptor, closed with the last reference to it.

    A thread that is given up on while its disk hangs keeps it open, so that the number cannot
    come to mean another file under its hands.  For the same reason nobody else gets the number.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __del__(self) -> None:
        os.close(self._fd)

    def stat(self) -> os.stat_result:
        return os.fstat(self._fd)

    def statvfs(self) -> os.statvfs_result:
        return os.statvfs(self._fd)

    # Of an entry

    def opened(self, flags: int) -> Descriptor:
        """Open what this stands for, and not what may be at its place by now."""
        return Descriptor(os.open(self._path, flags | os.O_CLOEXEC))

    def readlink(self) -> bytes:
        return os.readlink(b"", dir_fd=self._fd)

    def change(self, changes: Changes) -> os.stat_result:
        """Change what is asked for; the attributes after it."""
        if changes.size is not None:
            os.truncate(self._path, changes.size)
        if changes.uid is not None or changes.gid is not None:
            uid, gid = (-1 if one is None else one for one in (changes.uid, changes.gid))
            os.chown(self._path, uid, gid)
        if changes.mode is not None:
            os.chmod(self._path, stat.S_IMODE(changes.mode))
        if changes.atime_ns is not None or changes.mtime_ns is not None:
            now = self.stat()
            atime = now.st_atime_ns if changes.atime_ns is None else changes.atime_ns
            mtime = now.st_mtime_ns if changes.mtime_ns is None else changes.mtime_ns
            os.utime(self._path, ns=(atime, mtime))
        return self.stat()

    def get_attribute(self, name: bytes) -> bytes:
        return os.getxattr(self._path, name)

    def attribute_names(self) -> list[bytes]:
        return [os.fsencode(name) for name in os.listxattr(self._path)]

    def set_attribute(self, name: bytes, value: bytes) -> None:
        os.setxattr(self._path, name, value)

    def remove_attribute(self, name: bytes) -> None:
        os.removexattr(self._path, name)

    # Of a directory's entries

    def entry(self, name: bytes) -> Descriptor:
        """What is called `name` in this directory, a link itself."""
        return Descriptor(os.open(name, _ENTRY, dir_fd=self._fd))

    def stat_in(self, name: bytes) -> os.stat_result:
        return os.stat(name, dir_fd=self._fd, follow_symlinks=False)

    def names(self) -> list[bytes]:
        """Only for a directory that was opened for reading."""
        return [os.fsencode(name) for name in os.listdir(self._fd)]

    def open_in(self, name: bytes, flags: int, mode: int = 0) -> Descriptor:
        """Open a file of this directory; a link, or a FIFO without a partner, is refused."""
        kept = flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return Descriptor(os.open(name, kept, mode, dir_fd=self._fd))

    def mkdir(self, name: bytes, mode: int) -> None:
        os.mkdir(name, mode, dir_fd=self._fd)

    def mknod(self, name: bytes, mode: int) -> None:
        os.mknod(name, mode, dir_fd=self._fd)

    def symlink(self, name: bytes, target: bytes) -> None:
        os.symlink(target, name, dir_fd=self._fd)

    def unlink(self, name: bytes) -> None:
        os.unlink(name, dir_fd=self._fd)

    def rmdir(self, name: bytes) -> None:
        os.rmdir(name, dir_fd=self._fd)

    def link(self, name: bytes, to: Descriptor, new: bytes) -> None:
        os.link(name, new, src_dir_fd=self._fd, dst_dir_fd=to._fd, follow_symlinks=False)

    def rename(self, name: bytes, to: Descriptor, new: bytes, flags: int) -> None:
        """renameat2(2)."""
        if flags == 0:
            os.rename(name, new, src_dir_fd=self._fd, dst_dir_fd=to._fd)
            return
        if flags not in (RENAME_NOREPLACE, RENAME_EXCHANGE) or not hasattr(_libc, "renameat2"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if _libc.renameat2(self._fd, name, to._fd, new, flags) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    # Of an open file

    def read_nowait(self, offset: int, length: int) -> bytes | None:
        """The bytes if all of them are in the page cache, else None."""
        buffer = bytearray(length)
        try:
            count = os.preadv(self._fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError:  # EAGAIN, or a file system without such reads: `read` will say more
            return None
        return bytes(buffer) if count == length else None

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def write(self, offset: int, content: bytes) -> int:
        """Write everything; its length."""
        rest = memoryview(content)
        while rest:
            count = os.pwrite(self._fd, rest, offset)
            rest, offset = rest[count:], offset + count
        return len(content)

    def truncate(self, size: int) -> None:
        """By the open file: its own mode may not allow to open it for writing once more."""
        os.ftruncate(self._fd, size)

    def flush(self) -> None:
        """What close(2) would say, which on some file systems is where a failed write shows."""
        os.close(os.dup(self._fd))

    def sync(self) -> None:
        os.fsync(self._fd)

    def sync_data(self) -> None:
        os.fdatasync(self._fd)

    @property
    def _path(self) -> bytes:
        """A path that leads to exactly this, for calls that take no O_PATH descriptor."""
        return b"/proc/self/fd/%d" % self._fd


def directory(path: Path) -> Descriptor:
    """An O_PATH descriptor of a directory, by whatever path it is called later."""
    return Descriptor(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
