"""What is published of one folder outside the share folder, followed while this runs.

What that is, over restarts, is for `publishing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.library.folders import Folders
from p2pfs.library.ingest import STILL_SECONDS, Ingest
from p2pfs.library.standing import Place, Standing, file_standing, folder_standing
from p2pfs.store.extent import Chosen
from p2pfs.store.folders import SharedFolders
from p2pfs.store.foldershares import elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.library.providing import Providing
    from p2pfs.store.catalog import Catalog
    from p2pfs.store.extent import Publication
    from p2pfs.store.share import ShareState
    from p2pfs.store.shares import Shares

# As in the share folder: so many times as long as a file.
_FOLDER_STILL = 3


class Elsewhere:
    """One or more publications that lie in the same folder.  Paths are absolute."""

    def __init__(
        self,
        catalog: Catalog,
        shares: Shares,
        providing: Providing,
        changed: Callable[[Cid], None],
        publications: Sequence[Publication],
        *,
        still_seconds: float = STILL_SECONDS,
    ) -> None:
        self._above = publications[0].parent
        self._chosen = Chosen(publications)
        rows = elsewhere(shares, self._above, self._chosen)
        kept = SharedFolders(catalog, self._above, self._chosen)
        folders = Folders(rows.folder, kept, providing, _FOLDER_STILL * still_seconds)
        self._ingest = Ingest(rows, changed, still_seconds, touched=folders.changed)
        self._place = Place(rows, self._ingest, folders)
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self) -> None:
        """Until stopped or cancelled."""
        try:
            with self._scope:
                async with open_nursery() as nursery:
                    nursery.start_soon(self._ingest.run)
                    nursery.start_soon(self._place.folders.run, self._ingest.scanned)
        finally:
            self._ended.set()

    async def stop(self) -> list[Publication]:
        """What was followed; nothing of it is hashed or written down any more."""
        self._scope.cancel()
        await self._ended.wait()
        return self._chosen.publications()

    async def choose(self, publication: Publication) -> None:
        """Follow this too, or with other tags than before."""
        self._chosen.choose(publication)
        self._place.folders.changed(publication.name)
        await self._ingest.chosen(publication.name)

    def changed(self, path: bytes) -> None:
        """A file is not what it was."""
        self._ingest.hints.doubted(self._relative(path))

    def batch_comes_in(self) -> bool:
        """As in `Ingest`."""
        return self._ingest.batch_comes_in()

    def state(self, path: bytes) -> tuple[ShareState, str]:
        """How far a file is, and why it is not further."""
        return self._ingest.state(self._relative(path))

    def standing(self, path: bytes) -> Standing:
        """How far what was published, or a part of it, is."""
        below = self._relative(path)
        # What can hold something and is no file that was hashed.
        if self._chosen.holds(below + b"/-") and self._place.shares.get(below) is None:
            return folder_standing(self._place, below)
        return file_standing(self._place, below)

    def _relative(self, path: bytes) -> bytes:
        return path.removeprefix(self._above)
