"""Content ids of the directories below a folder, once all in them has been still.

They are computed from the rows of `shares`: no file is read.  Files are for `ingest`, telling
the network for `providing`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.content.directory import build_directory
from p2pfs.errors import P2pfsError
from p2pfs.library.agenda import Agenda
from p2pfs.library.folderscan import folders_among, list_folder, list_folders
from p2pfs.store.share import ShareState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from p2pfs.content.cid import Cid
    from p2pfs.content.directory import BuiltDirectory
    from p2pfs.library.folderscan import FolderEntries
    from p2pfs.library.providing import Providing
    from p2pfs.store.files import Stamp
    from p2pfs.store.folders import SharedFolders

_log = logging.getLogger(__name__)

# As long as a copy of many files may pause between two of them.
STILL_SECONDS = 3.0
# Directories that came, changed or went behind the mount are found by looking at all of them.
_LOOK_EVERY_SECONDS = 30.0
# That takes at most 2 % of a core.
_LOOK_SHARE = 50
# A file that cannot be hashed keeps its directory waiting.
_RETRY_SECONDS = 60.0


class _UnfinishedError(Exception):
    """Why a directory cannot have a content id yet."""


class Folders:
    """Paths are relative to the folder, which itself has no content id."""

    def __init__(
        self,
        folder: Path,
        kept: SharedFolders,
        providing: Providing,
        still_seconds: float = STILL_SECONDS,
    ) -> None:
        self._folder = folder
        self._kept = kept
        self._providing = providing
        self._still_seconds = still_seconds
        self._agenda: Agenda[bytes] = Agenda()
        self._built: dict[bytes, tuple[Cid, int]] = {}
        self._rows: set[bytes] = set()  # of what `kept` has, or will have in a moment
        self._remarks: dict[bytes, str] = {}
        self._states: dict[bytes, tuple[ShareState, str]] = {}
        self._disturbed: set[bytes] = set()
        self._to_forget = trio.Event()

    def changed(self, path: bytes) -> None:
        """Something at this path is, or is about to be, another."""
        for folder in _folders_of(path):
            self._disturbed.add(folder)
            if folder in self._built:
                self._to_forget.set()
            self._agenda.look_after(folder, self._still_seconds)

    def cid(self, path: bytes) -> Cid | None:
        """The content id of a directory; None while it has none."""
        return None if path in self._disturbed else self._built.get(path, (None, 0))[0]

    def all(self) -> dict[bytes, Cid | None]:
        """Every directory that was looked at, with its content id."""
        return {path: self.cid(path) for path in sorted(self._built.keys() | self._states.keys())}

    def state(self, path: bytes) -> tuple[ShareState, str]:
        """How far a directory is, and why it is not further."""
        cid = self.cid(path)
        if cid is None:
            return self._states.get(path, (ShareState.WAITING, "until it has been still"))
        state, reason = self._providing.state(cid)
        return state, reason or self._remarks.get(path, "")

    async def run(self, scanned: trio.Event) -> None:
        """Build what is due, until cancelled; first of all everything, when files are known.

        Nothing is provided any more after it.
        """
        await scanned.wait()
        known = self._kept.all()
        self._rows |= known.keys()
        self._disturbed |= known.keys()
        async with open_nursery() as nursery:
            nursery.start_soon(self._look_around, set(known))
            nursery.start_soon(self._forget_disturbed)
            try:
                while True:
                    await self._look_at_some(await self._agenda.wait_due())
            finally:
                for path in tuple(self._built):
                    self._drop(path)

    async def _look_at_some(self, paths: Sequence[bytes]) -> None:
        # Of what has changed most are files: one hop for all of them.
        there = await trio.to_thread.run_sync(folders_among, self._folder, paths)
        for path in sorted(paths, key=lambda path: path.count(b"/"), reverse=True):
            if path in there or path in self._rows:
                await self._look_safely(path)
            else:
                self._disturbed.discard(path)
                self._states.pop(path, None)

    async def _look_around(self, known: set[bytes]) -> None:
        before: dict[bytes, Stamp] = {}
        for path in known:  # served again once it is seen to be what it was
            self._agenda.look_unless_due(path)
        while True:
            started = trio.current_time()
            starts = self._kept.extent.starts()
            found = await trio.to_thread.run_sync(list_folders, self._folder, starts)
            for path in found.keys() | before.keys():
                if found.get(path) != before.get(path):
                    self._agenda.look_unless_due(path)
            before = found
            seconds = trio.current_time() - started
            await trio.sleep(max(_LOOK_EVERY_SECONDS, _LOOK_SHARE * seconds))

    async def _forget_disturbed(self) -> None:
        """What changes is not given to others from the first moment on."""
        while True:
            await self._to_forget.wait()
            self._to_forget = trio.Event()
            gone = [path for path in self._disturbed if path in self._built]
            for path in gone:
                self._drop(path)
            if not gone:
                continue
            try:
                await self._remove_rows(gone)
            except P2pfsError as error:  # the disk's trouble; their next look tries it again
                _log.warning("directories that change are still served: %s", error)

    def _drop(self, path: bytes) -> None:
        cid, _ = self._built.pop(path)
        if all(cid != other for other, _ in self._built.values()):
            self._providing.stop(cid, self)

    async def _look_safely(self, path: bytes) -> None:
        self._disturbed.discard(path)
        try:
            await self._look_unless_unfinished(path)
        except Exception as error:  # noqa: BLE001 the edge: one odd directory must not end the node
            _log.warning("%r gets no content id: %s", path, error, exc_info=True)
            self._states[path] = ShareState.FAILED, str(error)
            self._agenda.look_after(path, _RETRY_SECONDS)

    async def _look_unless_unfinished(self, path: bytes) -> None:
        try:
            await self._look(path)
        except _UnfinishedError as reason:
            self._states[path] = ShareState.WAITING, str(reason)
            await self._forget(path)
            if path not in self._disturbed:  # else it is due earlier
                self._agenda.look_after(path, _RETRY_SECONDS)

    async def _look(self, path: bytes) -> None:
        listed = None
        if self._kept.extent.holds(path + b"/-"):  # as a file in it
            listed = await trio.to_thread.run_sync(list_folder, self._folder, path)
        if listed is None or listed.excluded:
            self._states.pop(path, None)
            if listed is not None:
                self._states[path] = ShareState.IGNORED, listed.excluded
            await self._forget(path)
            self._look_above(path)
            return
        entries, unnamed = self._entries(path, listed)
        built = await trio.to_thread.run_sync(build_directory, entries)
        if path not in self._disturbed:  # else it is due again
            self._remarks[path] = _without(unnamed)
            await self._keep(path, built)

    def _entries(
        self, path: bytes, listed: FolderEntries
    ) -> tuple[list[tuple[str, Cid, int]], int]:
        """What belongs in a directory, and how many names of it cannot be in one."""
        found: dict[bytes, tuple[Cid, int]] = {}
        hashed = self._kept.files_in(path)
        for name, stamp in listed.files.items():
            file = hashed.get(name)
            if file is None or file.stamp != stamp:
                raise _UnfinishedError("until its files are hashed")
            found[name] = file.cid, file.tsize
        for name in listed.folders:
            below = path + b"/" + name
            if below in self._disturbed or below not in self._built:
                self._agenda.look_unless_due(below)
                raise _UnfinishedError("until the folders in it are ready")
            found[name] = self._built[below]
        named = [(_text(name), *content) for name, content in found.items()]
        entries = [(name, cid, tsize) for name, cid, tsize in named if name is not None]
        return entries, len(named) - len(entries)

    async def _keep(self, path: bytes, built: BuiltDirectory) -> None:
        before = self._built.get(path)
        if before is None or before[0] != built.cid:
            await self._forget(path)
            self._rows.add(path)
            await self._kept.put(path, built)
            if path in self._disturbed:
                await self._remove_rows([path])
                return
            self._built[path] = built.cid, built.tsize
            self._providing.provide(built.cid, self)
            self._look_above(path)
        self._states.pop(path, None)

    async def _forget(self, path: bytes) -> None:
        if path in self._built:
            self._drop(path)
        if path in self._rows:
            await self._remove_rows([path])

    async def _remove_rows(self, paths: list[bytes]) -> None:
        self._rows.difference_update(paths)
        try:
            await self._kept.remove(paths)
        except BaseException:
            self._rows.update(paths)  # as far as is known
            raise

    def _look_above(self, path: bytes) -> None:
        above = path.rpartition(b"/")[0]
        if above:
            self._agenda.look_after(
                above, 0 if above not in self._disturbed else self._still_seconds
            )


def _folders_of(path: bytes) -> Iterator[bytes]:
    """The path itself, which may be one, and all above it but the folder."""
    while path:
        yield path
        path = path.rpartition(b"/")[0]


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def _without(unnamed: int) -> str:
    return f"without {unnamed} entries whose names are not UTF-8" if unnamed else ""
