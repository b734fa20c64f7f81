"""Files of the network on the user's disk: beside the target until whole, resumed, never replaced.

Names come from strangers, so everything is done below an open folder and no link is followed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from p2pfs.cli.control import follow, receive
from p2pfs.content.cid import parse_cid
from p2pfs.control.asked import LeafHash, Wanted
from p2pfs.errors import CutError, ExistsError, NoSpaceError, NotPermittedError, P2pfsError
from p2pfs.library.names import MAX_NAME_BYTES, distinct_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The content id is in the name, so no file of the user's is so called by chance.
_PART = ".part"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would wait for its writer.
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITING = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Folder:
    """An open folder of the user's; `path` is for messages only."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path

    def close(self) -> None:
        os.close(self.fd)

    def path_of(self, name: str) -> str:
        """An entry's path, to be shown."""
        return os.path.join(self.path, name)

    def stat(self, name: str) -> os.stat_result | None:
        """Of an entry, links not followed; None if there is none."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def below(self, name: str, shown: str) -> Folder:
        """The folder of that name, made if need be; raises ExistsError for anything else.

        Messages name it as `shown`.
        """
        path = self.path_of(shown)
        with disk_errors(path):
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=self.fd)
            try:
                return Folder(os.open(name, _FOLDER, dir_fd=self.fd), path)
            except NotADirectoryError as error:  # a link is none either, wherever it leads
                raise ExistsError(f"{path} is in the way: it is no folder") from error

    def rename(self, name: str, new: str) -> None:
        """Give an entry a name that nothing has, or only an empty folder."""
        with disk_errors(self.path_of(new)):
            os.rename(name, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def link(self, name: str, target: str) -> None:
        """A symbolic link; raises ExistsError for anything but the same link there."""
        with disk_errors(self.path_of(name)):
            try:
                os.symlink(target, name, dir_fd=self.fd)
            except FileExistsError as error:
                found = self.stat(name)
                is_link = found is not None and stat.S_ISLNK(found.st_mode)
                if not (is_link and os.readlink(name, dir_fd=self.fd) == target):
                    raise ExistsError(f"{self.path_of(name)} exists already") from error


def open_folder(path: str) -> Folder:
    """The user's own word: links on the way are followed."""
    with disk_errors(path):
        return Folder(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path)


def save_file(folder: Folder, name: str, wanted: Wanted, at: Callable[[int], None]) -> None:
    """The file, whole, under `name`; `at` is told how many of its bytes are there.

    What an earlier try left in the `.part` file is hashed and kept as far as it is right; what
    this one leaves, when it fails, too.  Raises ExistsError if something else has the name.
    """
    path = folder.path_of(name)
    with disk_errors(path):
        if folder.stat(name) is not None:
            if not _is_same(folder, name, wanted, at):
                raise ExistsError(f"{path} exists already, with other content")
            return
        part = part_name(name, wanted.cid)
        _write_part(folder, part, wanted, at)
        _name_it(folder, part, name)


def replace_file(folder: Folder, name: str, wanted: Wanted, at: Callable[[int], None]) -> None:
    """`save_file` in the place of whatever file has the name."""
    with disk_errors(folder.path_of(name)):
        part = part_name(name, wanted.cid)
        _write_part(folder, part, wanted, at)
        os.replace(part, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)


def content_from(wanted: Wanted) -> Iterator[bytes]:
    """The bytes of a file; an answer that was cut is asked for again, until that brings none."""
    at = wanted.start
    while True:
        begun_at = at
        try:
            for piece in receive("read", Wanted(wanted.cid, wanted.size, at)):
                at += len(piece)
                yield piece
        except CutError:
            if at == begun_at:
                raise
        else:
            return


def part_name(name: str, cid: str) -> str:
    """What a file or a folder is called until it is whole."""
    distinct = distinct_name(name, parse_cid(cid)).encode()
    return distinct[: MAX_NAME_BYTES - len(_PART)].decode(errors="ignore") + _PART


@contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """What the system refuses, as errors that say what to do."""
    try:
        yield
    except OSError as error:
        message = f"cannot save {path}: {error.strerror}"
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise NoSpaceError(message) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise NotPermittedError(message) from error
        raise P2pfsError(message) from error


def _is_same(folder: Folder, name: str, wanted: Wanted, at: Callable[[int], None]) -> bool:
    found = folder.stat(name)
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != wanted.size:
        return False
    fd = os.open(name, _READING, dir_fd=folder.fd)
    try:
        return _right_bytes(fd, wanted, at) == wanted.size
    finally:
        os.close(fd)


def _write_part(folder: Folder, part: str, wanted: Wanted, at: Callable[[int], None]) -> None:
    fd = os.open(part, _WRITING, 0o666, dir_fd=folder.fd)
    try:
        _lock(fd, folder.path_of(part))
        start = _right_bytes(fd, wanted, at) if os.fstat(fd).st_size else 0
        os.ftruncate(fd, start)
        os.lseek(fd, start, os.SEEK_SET)
        with open(fd, "wb", buffering=0, closefd=False) as file:
            for piece in content_from(Wanted(wanted.cid, wanted.size, start)):
                _write(file.fileno(), piece)
                start += len(piece)
                at(start)
    finally:
        os.close(fd)


def _write(fd: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _lock(fd: int, path: str) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise ExistsError(f"{path} is in the way: it is no file")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise P2pfsError(f"another p2pfs is writing {path}") from error


def _right_bytes(fd: int, wanted: Wanted, at: Callable[[int], None]) -> int:
    """How many bytes from its beginning on match their hashes."""
    right = 0
    with closing(follow("leaves", Wanted(wanted.cid, wanted.size), LeafHash)) as leaves:
        for leaf in leaves:
            piece = os.pread(fd, leaf.stop - leaf.start, leaf.start)
            if hashlib.sha256(piece).hexdigest() != leaf.sha256:
                break
            right = leaf.stop
            at(right)
    return right


def _name_it(folder: Folder, part: str, name: str) -> None:
    """Give the whole file its name, unless something else has got that meanwhile."""
    try:
        os.link(part, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd, follow_symlinks=False)
    except FileExistsError as error:
        raise ExistsError(f"{folder.path_of(name)} exists already") from error
    except OSError:  # a file system without hard links
        os.rename(part, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
    else:
        os.unlink(part, dir_fd=folder.fd)
