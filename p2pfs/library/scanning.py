"""Looking through a folder for what nobody has hinted at: at the start, when asked, now and then.

What follows from what is found is for `ingest`; a single look is `folderscan`'s.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from p2pfs.library.folderscan import scan_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from p2pfs.library.folderscan import Ignores
    from p2pfs.library.known import Known
    from p2pfs.library.watching import Watching
    from p2pfs.store.extent import Extent

_log = logging.getLogger(__name__)

# Where the kernel tells of nothing, what comes in behind the mount is found by looking; where it
# does, what memory maps write is.  At most 2 % of a core goes there.
_SCAN_EVERY_SECONDS = 5.0
_SWEEP_EVERY_SECONDS = 60.0
_SCAN_SHARE = 50


class Scanning:
    """Calls `due` with each path that is not as it is known.

    `ignores` are the patterns of the last look; who has seen newer ones adds them.
    """

    def __init__(
        self, folder: Path, extent: Extent, known: Known, due: Callable[[bytes], None]
    ) -> None:
        self._folder = folder
        self._extent = extent
        self._known = known
        self._due = due
        self._again = trio.Event()
        self.ignores: Ignores = {}
        self.finished = trio.Event()
        """Set when everything was looked through for the first time."""

    def look_again(self) -> None:
        """Look through everything soon: something may have been missed."""
        self._again.set()

    async def run(self, watching: Watching) -> None:
        """Until cancelled; often, where `watching` cannot tell of everything."""
        while True:
            started = trio.current_time()
            whole = await self._scan_safely()
            seconds = trio.current_time() - started
            told = whole and not watching.trouble
            every = _SWEEP_EVERY_SECONDS if told else _SCAN_EVERY_SECONDS
            with trio.move_on_after(max(every, _SCAN_SHARE * seconds)):
                await self._again.wait()
            self._again = trio.Event()

    async def look_through(self, below: bytes) -> Ignores:
        """Compare all below a folder; the patterns in force there."""
        known = self._known.snapshot()
        scan = await trio.to_thread.run_sync(scan_folder, self._folder, below, known)
        for path in (*scan.fresh, *scan.gone):
            if self._extent.holds(path):
                self._due(path)
        return scan.ignores

    async def _scan_safely(self) -> bool:
        try:
            await self._scan()
        except Exception:  # noqa: BLE001 the edge: the node must not stop looking
            _log.exception("the folder cannot be looked through; the next look may")
            return False
        self.finished.set()
        return True

    async def _scan(self) -> None:
        ignores: Ignores = {}
        for start in self._extent.starts():
            ignores |= await self.look_through(start)
            if start:  # what was chosen may be gone, be back, or be a file
                self._due(start)
        self.ignores = ignores
