"""Entries below one folder's own descriptor; no path here is ever resolved from `/`.

Blocking, so called in threads; knows neither inodes nor the kernel's requests (`share` does).
Every component is opened by itself without following links, so nothing outside can be reached,
whatever changes meanwhile, and an entry counts only while it has the identity asked for.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.fs.descriptors import Changes, Descriptor, directory

if TYPE_CHECKING:
    from pathlib import Path

Names = tuple[bytes, ...]
Listing = list[tuple[bytes, os.stat_result]]

# What the kernel has dealt with already, or what our buffers cannot keep (the alignment of
# O_DIRECT); O_APPEND would send a write to another place than the offset the kernel has chosen.
_NOT_PASSED_ON = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND | os.O_DIRECT


@dataclass(frozen=True, slots=True)
class Location:
    """An entry: where it was seen last, below the folder, and its (st_dev, st_ino)."""

    paths: tuple[Names, ...]
    identity: tuple[int, int]


class Folder:
    """Everything below one real folder.

    Every method may raise OSError; ESTALE if an entry is not where it was.
    """

    def __init__(self, root: Descriptor, umask: int) -> None:
        self._root = root
        self._umask = umask

    def identity(self) -> tuple[int, int]:
        """The folder's own (st_dev, st_ino)."""
        return _identity(self._root.stat())

    def space(self) -> os.statvfs_result:
        return self._root.statvfs()

    def stat(self, at: Location) -> os.stat_result:
        return self._entry(at).stat()

    def stat_in(self, parent: Location, name: bytes) -> os.stat_result:
        """The attributes of `parent/name`, of a link itself."""
        return self._entry(parent).stat_in(name)

    def listing(self, at: Location) -> Listing:
        """Every entry with its attributes; one that goes while we look is left out."""
        folder = self._entry(at).opened(os.O_RDONLY | os.O_DIRECTORY)
        entries = []
        for name in folder.names():
            try:
                entries.append((name, folder.stat_in(name)))
            except FileNotFoundError:
                continue
        return entries

    def readlink(self, at: Location) -> bytes:
        return self._entry(at).readlink()

    def open(self, at: Location, flags: int) -> Descriptor:
        return self._entry(at).opened(flags & ~_NOT_PASSED_ON)

    def create(
        self, parent: Location, name: bytes, flags: int, mode: int
    ) -> tuple[Descriptor, os.stat_result]:
        """Open `parent/name`, made with exactly this mode if it is not there; see O_EXCL."""
        folder = self._entry(parent)
        kept = flags & ~_NOT_PASSED_ON
        try:
            file = folder.open_in(name, kept | os.O_CREAT | os.O_EXCL, mode)
            if mode & self._umask:
                file.change(Changes(mode=mode))
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            file = folder.open_in(name, kept)
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EEXIST, "not a regular file")
        return file, found

    def make_directory(self, parent: Location, name: bytes, mode: int) -> os.stat_result:
        folder = self._entry(parent)
        folder.mkdir(name, mode)
        return self._with_mode(folder.entry(name), mode)

    def make_node(self, parent: Location, name: bytes, mode: int) -> os.stat_result:
        """A regular file, FIFO or socket; devices have no place in a shared folder."""
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            raise OSError(errno.EPERM, "no device files here")
        folder = self._entry(parent)
        folder.mknod(name, mode)
        return self._with_mode(folder.entry(name), mode)

    def make_link(self, parent: Location, name: bytes, target: bytes) -> os.stat_result:
        """A symbolic link."""
        folder = self._entry(parent)
        folder.symlink(name, target)
        return folder.stat_in(name)

    def link(self, at: Location, parent: Location, name: bytes) -> os.stat_result:
        """A hard link `parent/name` to an entry."""
        folder = self._entry(parent)
        for path in at.paths:
            try:
                old = self._walked(path[:-1])
                if _identity(old.stat_in(path[-1])) != at.identity:
                    continue
            except (FileNotFoundError, NotADirectoryError):
                continue
            old.link(path[-1], folder, name)
            return folder.stat_in(name)
        raise _stale()

    def remove(self, parent: Location, name: bytes) -> bool:
        """Unlink; whether that was the last link, so that the identity may be used again."""
        folder = self._entry(parent)
        is_last = _is_last_link(folder, name)
        folder.unlink(name)
        return is_last

    def remove_directory(self, parent: Location, name: bytes) -> None:
        self._entry(parent).rmdir(name)

    def rename(
        self, old_parent: Location, old: bytes, new_parent: Location, new: bytes, flags: int
    ) -> bool:
        """renameat2(2); whether the last link of what was at the new place is gone."""
        old_folder, new_folder = self._entry(old_parent), self._entry(new_parent)
        is_last = not flags and _is_last_link(new_folder, new)
        old_folder.rename(old, new_folder, new, flags)
        return is_last

    def change(self, at: Location, changes: Changes) -> os.stat_result:
        return self._entry(at).change(changes)

    def get_attribute(self, at: Location, name: bytes) -> bytes:
        return self._entry(at).get_attribute(name)

    def attribute_names(self, at: Location) -> list[bytes]:
        return self._entry(at).attribute_names()

    def set_attribute(self, at: Location, name: bytes, value: bytes) -> None:
        self._entry(at).set_attribute(name, value)

    def remove_attribute(self, at: Location, name: bytes) -> None:
        self._entry(at).remove_attribute(name)

    def _entry(self, at: Location) -> Descriptor:
        """An O_PATH descriptor of exactly the entry meant."""
        for path in at.paths:
            try:
                entry = self._walked(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if _identity(entry.stat()) == at.identity:
                return entry
        raise _stale()

    def _walked(self, path: Names) -> Descriptor:
        here = self._root
        for name in path:
            here = here.entry(name)
        return here

    def _with_mode(self, made: Descriptor, mode: int) -> os.stat_result:
        """Give a new entry the mode its maker asked for: the maker's umask is in it already."""
        if mode & self._umask:
            inherited = made.stat().st_mode & stat.S_ISGID
            made.change(Changes(mode=mode | inherited))
        return made.stat()


def open_folder(path: Path) -> Folder:
    """The folder at `path`; raises OSError."""
    umask = os.umask(0o077)  # there is no way but to set it
    os.umask(umask)
    return Folder(directory(path), umask)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _is_last_link(folder: Descriptor, name: bytes) -> bool:
    try:
        found = folder.stat_in(name)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) or found.st_nlink == 1


def _stale() -> OSError:
    # The kernel looks the path up again when it gets this.
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))
