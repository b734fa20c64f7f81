"""From a file in a folder to a row in the catalogue, as soon as it has been still.

The folder is the truth: every hint leads to a look, and the look decides.  What a file is called
in the network is for `descriptions`, telling the network for `announcing`.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.errors import P2pfsError
from p2pfs.library.exclusions import IGNORE_FILE, exclusion
from p2pfs.library.filing import Filing
from p2pfs.library.folderscan import look_at, look_closely, special_kind
from p2pfs.library.hashing import UnsteadyError
from p2pfs.library.hashqueue import RETRY_SECONDS, HashQueue
from p2pfs.library.hints import Hints
from p2pfs.library.progress import Progress
from p2pfs.library.register import Register
from p2pfs.library.scanning import Scanning
from p2pfs.library.watching import Watching
from p2pfs.store.files import exact_stamp_of, stamp_of
from p2pfs.store.share import ShareState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.library.filing import Described
    from p2pfs.library.folderscan import Ignores
    from p2pfs.library.progress import Standing
    from p2pfs.store.foldershares import FolderShares
    from p2pfs.store.share import Share

# As long as a slow copy may pause between two writes.
STILL_SECONDS = 1.0
# A small file is looked at twice, and a hop to a thread costs about 0.1 ms.  What changes between
# the look and what follows from it is hinted at again; more at once would only make that likelier.
_LOOKS_A_HOP = 64


class Ingest:
    """Follows its `hints`, and what is found by `scanning` the folder without any.

    `changed` is told of each CID whose files are others now, `touched` of each path that is or
    will be another.  Paths are relative to the folder.
    """

    def __init__(
        self,
        shares: FolderShares,
        changed: Callable[[Cid], None],
        still_seconds: float = STILL_SECONDS,
        clock: Callable[[], float] = time.time,
        touched: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._shares = shares
        self._folder = shares.folder
        self._extent = shares.extent
        self._touched = touched
        self.hints = Hints(still_seconds, self._stop)
        self._agenda = self.hints.agenda
        self._progress = Progress(self.hints)
        self._register = Register(shares, changed, touched)
        self._scanning = Scanning(self._folder, self._extent, self._register.known, self._found)
        self.scanned = self._scanning.finished
        """Set when the whole folder was compared with the catalogue for the first time."""
        look_again = self._scanning.look_again
        self.watching = Watching(self._folder, self._extent, self.hints, look_again)
        self._filing = Filing(shares, trio.CapacityLimiter(os.cpu_count() or 1))
        filed = self._register.filed
        self._queue = HashQueue(self._filing, self.hints, self._progress, filed, clock)

    def state(self, path: bytes) -> Standing:
        """How far a file is, and why it is not further."""
        reason = exclusion(path, self._scanning.ignores)
        if reason is not None:
            return ShareState.IGNORED, reason
        standing = self._progress.of(path)
        if standing is not None:
            return standing
        share = self._shares.get(path)
        if share is None:
            return ShareState.WAITING, "just found"
        return share.state, share.reason

    def batch_comes_in(self) -> bool:
        """Whether many files are told of that nobody has looked at, or wait to be hashed."""
        return self.hints.batch_comes_in() or self._queue.batch_waits()

    def unfinished(self) -> dict[bytes, Standing | None]:
        """The paths that are to be looked at or hashed, those that failed until now included.

        With each its state, unless that is the one in its row.
        """
        paths = (*self._agenda.things(), *self._queue.paths())
        return {path: self._progress.of(path) for path in paths}

    async def chosen(self, path: bytes) -> None:
        """The extent was given this too, or other tags for it."""
        await self.watching.watch(path)
        for found in (path, *self._shares.states_below(path)):
            self.hints.retagged(found)
        self._scanning.look_again()

    async def run(self) -> None:
        """Scan, then follow the hints, until cancelled."""
        for share in self._shares.all():
            self._register.known.remember(share)
            if not share.tags_include(self._extent.tags(share.path)):  # killed before they got them
                self.hints.retagged(share.path)
        watched = trio.Event()
        async with open_nursery() as nursery:
            nursery.start_soon(self.watching.run, watched)
            await watched.wait()  # what comes from here on is told, what came before is scanned
            nursery.start_soon(self._scanning.run, self.watching)
            while True:
                await self._look_at_some(await self._agenda.wait_due(_LOOKS_A_HOP), nursery)
                self._queue.look_at_ready()

    def _found(self, path: bytes) -> None:
        if path not in self._queue:
            self.hints.suspect(path)
            self._agenda.look_unless_due(path)

    async def _look_at_some(self, paths: Sequence[bytes], nursery: trio.Nursery) -> None:
        for path in paths:
            self.hints.looked_at(path)
        paths = [path for path in paths if self._extent.holds(path)]
        # An ignore file may be newer than the last scan: what it names must not get out meanwhile.
        try:
            found, above = await trio.to_thread.run_sync(self._look_closely, paths)
        except Exception as error:  # noqa: BLE001 as in `_look_safely`
            for path in paths:
                self._fails(path, error)
            return
        self._scanning.ignores |= above
        # A row moves if its file is found before it is missed, and a folder may have brought it.
        folder_came = any(status and stat.S_ISDIR(status.st_mode) for status in found.values())
        for path in sorted(paths, key=lambda path: found[path] is None):
            if found[path] is None and folder_came:
                self._agenda.look(path)
            else:
                await self._look_safely(path, found[path], nursery)

    def _look_closely(
        self, paths: Sequence[bytes]
    ) -> tuple[dict[bytes, os.stat_result | None], Ignores]:
        found, above = look_closely(self._folder, paths)
        return (found if self._shares.is_in_place() else dict.fromkeys(paths)), above

    async def _look_safely(
        self, path: bytes, found: os.stat_result | None, nursery: trio.Nursery
    ) -> None:
        try:
            await self._look(path, found, nursery)
        except Exception as error:  # noqa: BLE001 the edge: one odd file must not end the node
            self._fails(path, error)

    async def _look(self, path: bytes, found: os.stat_result | None, nursery: trio.Nursery) -> None:
        """Compare a path with its row, and do what follows."""
        if os.path.basename(path) == IGNORE_FILE:
            self._scanning.look_again()
        share = self._shares.get(path)
        unpublished = self._unpublished(path, found)
        if found is None or unpublished:
            await self._drop(path, share)
            await self._look_below(path, found)
            if unpublished:
                self._progress.is_left_out(path, unpublished)
        elif share is not None and share.is_of(found):
            await self._look_at_known(share, found, nursery)
        elif not await self._move_here(path, found, nursery):
            if share is not None and share.size != found.st_size:
                # Other content for certain: it is withdrawn without waiting for the new one.
                await self._register.withdraw(share)
            self._queue.hash_when_still(path, found, nursery)

    async def _look_at_known(
        self, share: Share, found: os.stat_result, nursery: trio.Nursery
    ) -> None:
        self._register.known.remember(share)  # its row may be newer than the end of its hashing
        path, ctime_ns = share.path, exact_stamp_of(found)[-1]
        if self.hints.is_retagged(path):
            await self._describe(share, nursery)
        elif share.is_untouched(found):
            self.hints.settled(path)
            self._progress.settle(path)
        elif self.hints.is_explained(path, ctime_ns):
            self._register.known.remember(await self._filing.confirm(share, ctime_ns))
            self.hints.settled(path)
        else:
            await self._describe(share, nursery)

    def _unpublished(self, path: bytes, found: os.stat_result | None) -> Standing | None:
        """Why what is there is not published; why what was chosen is not."""
        lost = self._extent.lost(path, found)
        if lost:
            return ShareState.FAILED, lost
        reason = found and (special_kind(found) or exclusion(path, self._scanning.ignores))
        return (ShareState.IGNORED, reason) if reason else None

    async def _drop(self, path: bytes, share: Share | None) -> None:
        """There is no file to publish at this path any more."""
        self._progress.settle(path)
        self.hints.described(path)
        self.hints.settled(path)
        self._queue.forget(path)
        for name in self._register.known.other_names(path):  # it may have been written to by this
            self.hints.doubted(name)
        if share is not None:
            await self._register.withdraw(share)

    async def _look_below(self, path: bytes, found: os.stat_result | None) -> None:
        """A folder may have come with all that is in it, or gone."""
        if found is not None and stat.S_ISDIR(found.st_mode):
            await self._scanning.look_through(path)
        else:
            for share in self._shares.below(path):
                self._agenda.look(share.path)

    async def _move_here(self, path: bytes, found: os.stat_result, nursery: trio.Nursery) -> bool:
        """Whether a file was found that is known by another name, or was until now."""
        old = self._register.known.path_of(stamp_of(found))
        if old is None or old == path:
            return False
        still_there = await trio.to_thread.run_sync(look_at, self._folder, old)
        if still_there is not None and stamp_of(still_there) == stamp_of(found):
            named = await self._register.link(old, path)
        else:
            named = await self._register.move(old, path)
            self._progress.settle(old)
        for share in named:
            await self._describe(share, nursery)
            self._register.redescribed(share)
        return bool(named)

    async def _describe(self, share: Share, nursery: trio.Nursery) -> None:
        """Its attributes are others, or its ctime has moved, as a write may have done as well."""
        path = share.path
        # What is told before the first look at everything may come after what nobody told.
        only_retagged = self.scanned.is_set() and self.hints.is_only_retagged(path)
        was_retagged = self.hints.is_retagged(path)
        self.hints.described(path)
        try:
            described = await self._filing.describe(share)
        except UnsteadyError:
            self._agenda.look_after(path, self.hints.still_seconds)
            return
        except OSError as error:
            self._progress.fails(path, f"cannot be read: {error.strerror}")
            self._agenda.look_after(path, RETRY_SECONDS)
        except P2pfsError as error:
            self._fails(path, error)
        else:
            self._is_described(share, described, nursery, only_retagged=only_retagged)
            return
        if was_retagged:  # else nothing would tell of tags that were given by the user's word alone
            self.hints.retagged(path)

    def _is_described(
        self, before: Share, described: Described, nursery: trio.Nursery, *, only_retagged: bool
    ) -> None:
        share, path = described.share, described.share.path
        self._progress.settle(path)
        self._register.known.remember(share)
        if share != before:
            self._register.redescribed(before)
        # By another name it may have been written to untold; so it may where nobody tells.
        names = self._register.known.other_names(path)
        is_told_of = described.names == 1 and not names and not self.watching.trouble
        if described.is_certain:
            self.hints.settled(path)
        elif only_retagged and is_told_of and share != before:
            self.hints.explained(path, described.ctime_ns)
        else:
            self.hints.suspect(path)
            self._queue.hash_again_when_idle(path, nursery)

    def _stop(self, path: bytes) -> None:
        """What was being hashed at or below a path is no more what it was."""
        self._queue.stop(path)
        self._touched(path)

    def _fails(self, path: bytes, error: Exception) -> None:
        self._progress.fails_by(path, error)
        self._agenda.look_after(path, RETRY_SECONDS)
