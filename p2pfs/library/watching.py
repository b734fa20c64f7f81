"""What the kernel tells of folders (inotify): changes behind the mount become hints at once.

Where it cannot tell, it says so once, and `ingest` looks often instead.  Nothing is looked at here.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING, NamedTuple

import psutil
import trio
from inotify_simple import INotify, flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from inotify_simple import Event

    from p2pfs.library.hints import Hints
    from p2pfs.store.extent import Extent

_log = logging.getLogger(__name__)

_MASK = (
    flags.CREATE
    | flags.MODIFY
    | flags.CLOSE_WRITE
    | flags.ATTRIB
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.DELETE
    | flags.ONLYDIR
    | flags.DONT_FOLLOW
    | flags.EXCL_UNLINK
)
# A copy is thousands of writes: what comes in this time is taken together, and a move is whole.
_GATHER_SECONDS = 0.02
# Others write to these without this machine's kernel.
_REMOTE = ("nfs", "cifs", "smb", "9p", "ceph", "afs", "fuse", "glusterfs", "lustre", "virtiofs")
_TOO_MANY = (
    "the folder has more folders than the kernel watches for one user; raise "
    "fs.inotify.max_user_watches (sysctl) to have changes behind the mount noticed at once"
)


class _Left(NamedTuple):
    """The name that something had before it moved."""

    path: bytes
    is_folder: bool


class Watching:
    """Watches a folder and its `extent` below.  `trouble` says why it cannot, or is empty.

    `lost` is called when something may have been missed.
    """

    def __init__(
        self, folder: Path, extent: Extent, hints: Hints, lost: Callable[[], None]
    ) -> None:
        self._folder = os.fsencode(folder)
        self._extent = extent
        self._hints = hints
        self._lost = lost
        self._inotify: INotify | None = None
        self._folders: dict[int, bytes] = {}
        self.trouble = "it has not begun"

    async def run(self, started: trio.Event) -> None:
        """Watch until cancelled; `started` is set when all folders are watched, or cannot be."""
        try:
            with await trio.to_thread.run_sync(lambda: INotify(nonblocking=True)) as inotify:
                self._inotify = inotify
                self.trouble = await trio.to_thread.run_sync(remote_file_system, self._folder)
                await self.watch(b"")
                started.set()
                while True:
                    await trio.lowlevel.wait_readable(inotify.fileno())
                    await trio.sleep(_GATHER_SECONDS)
                    await self._take(inotify.read(timeout=0))
        except OSError as error:
            self._give_up(f"the kernel watches no folder: {error.strerror}")
            started.set()
        finally:
            self._inotify = None

    async def watch(self, path: bytes) -> None:
        """Watch a folder and all below it; whatever is in it by then is to be looked at after."""
        if self._inotify is not None:
            self._folders |= await trio.to_thread.run_sync(self._add, self._inotify, path)

    async def _take(self, events: Iterable[Event]) -> None:
        came: list[bytes] = []
        moved: dict[int, _Left] = {}
        written: dict[bytes, None] = {}
        for event in events:
            if event.mask & flags.Q_OVERFLOW:
                came.append(b"")
                self._lost()
            elif event.mask & flags.IGNORED:
                self._unwatched(self._folders.pop(event.wd, None))
            elif event.wd in self._folders and event.name and self._extent.holds(self._path(event)):
                self._tell(event, self._path(event), moved, written)
                if event.mask & flags.ISDIR and event.mask & (flags.CREATE | flags.MOVED_TO):
                    came.append(self._path(event))
        for path in written:
            self._hints.changed(path)
        await self._came(dict.fromkeys(came))
        for left in moved.values():  # last: a row moves if its file is found before it is missed
            self._gone(left)

    def _tell(
        self, event: Event, path: bytes, moved: dict[int, _Left], written: dict[bytes, None]
    ) -> None:
        """`moved` are the names that something has left, by cookie, until it is seen where to.

        `written` is told once for all events of a path: a new file alone is three.
        """
        if event.mask & flags.MOVED_FROM:
            moved[event.cookie] = _Left(path, bool(event.mask & flags.ISDIR))
        elif event.mask & flags.MOVED_TO and event.cookie in moved:
            old = moved.pop(event.cookie)
            if old.path in written:
                written[path] = written.pop(old.path)
            self._moved(old, path)
        elif event.mask & flags.DELETE:
            self._hints.removed(path)
        elif event.mask & flags.ISDIR:
            return  # what is in it is looked at, once it is watched
        elif event.mask & flags.ATTRIB:
            self._hints.retagged(path)
        else:
            written[path] = None

    def _moved(self, old: _Left, new: bytes) -> None:
        for descriptor, folder in self._watched_in(old):
            self._folders[descriptor] = new + folder[len(old.path) :]
        self._hints.renamed(old.path, new)

    async def _came(self, folders: Iterable[bytes]) -> None:
        for path in folders:
            await self.watch(path)
            self._hints.agenda.look(path)

    def _gone(self, left: _Left) -> None:
        """Moved to where nothing is watched; that may be a folder so new that it is not yet."""
        for descriptor, _ in self._watched_in(left):
            del self._folders[descriptor]
            self._forget(descriptor)
        self._hints.changed(left.path)

    def _watched_in(self, left: _Left) -> list[tuple[int, bytes]]:
        """Of a folder, it and those below it; files move by the thousand, and have none."""
        path, is_folder = left
        return [
            (descriptor, folder)
            for descriptor, folder in (self._folders.items() if is_folder else ())
            if folder == path or folder.startswith(path + b"/")
        ]

    def _forget(self, descriptor: int) -> None:
        try:
            if self._inotify is not None:
                self._inotify.rm_watch(descriptor)
        except OSError as error:  # it went by itself
            _log.debug("watch %d is gone: %s", descriptor, error.strerror)

    def _path(self, event: Event) -> bytes:
        return os.path.join(self._folders[event.wd], os.fsencode(event.name))

    def _add(self, inotify: INotify, path: bytes) -> dict[int, bytes]:
        """In a thread.  A folder is watched before it is read: what comes meanwhile is told."""
        watched: dict[int, bytes] = {}
        waiting = [path]
        while waiting:
            folder = waiting.pop()
            try:
                watched[inotify.add_watch(os.path.join(self._folder, folder), _MASK)] = folder
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    self._give_up(_TOO_MANY)
                    break
                if not folder:
                    self._give_up(f"the folder cannot be watched: {error.strerror}")
                continue  # gone again, a link, or not ours to read
            found = _folders_in(self._folder, folder)
            waiting += [below for below in found if self._extent.holds(below + b"/-")]
        return watched

    def _unwatched(self, path: bytes | None) -> None:
        if path == b"":
            self._give_up("the folder has gone")

    def _give_up(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.warning("changes in %r are noticed late: %s", self._folder, trouble)
        self.trouble = trouble


def _folders_in(base: bytes, folder: bytes) -> Iterator[bytes]:
    try:
        with os.scandir(os.path.join(base, folder)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(b"."):
                    yield os.path.join(folder, entry.name)
    except OSError:
        return


def remote_file_system(folder: bytes) -> str:
    """Why the kernel does not see all that happens below a folder; empty if it does.  Blocks."""
    path = os.fsdecode(os.path.realpath(folder))
    mounts = {
        part.mountpoint: part.fstype
        for part in psutil.disk_partitions(all=True)
        if path == part.mountpoint or path.startswith(part.mountpoint.rstrip("/") + "/")
    }
    kind = mounts[max(mounts, key=len)] if mounts else ""
    if not kind.startswith(_REMOTE):
        return ""
    return f"the folder is on {kind}, to which others may write"
