"""What the user published where it lies, outside the share folder, over restarts.

Its files are rows of `shares`, with absolute paths; following them is for `library.publishing`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from p2pfs.store.columns import joined, split
from p2pfs.store.extent import Publication
from p2pfs.store.folders import remove_folders
from p2pfs.store.shares import remove_shares

if TYPE_CHECKING:
    import sqlite3

    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog


class Publications:
    """The rows of `publications`, by path."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def all(self) -> list[Publication]:
        rows = self._catalog.rows("SELECT path, is_folder, tags FROM publications ORDER BY path")
        return [Publication(path, bool(is_folder), split(tags)) for path, is_folder, tags in rows]

    async def put(self, publication: Publication) -> None:
        """Publish it, or give it other tags; it is kept when this returns."""
        await self._catalog.execute(
            "INSERT OR REPLACE INTO publications VALUES (?, ?, ?)",
            publication.path,
            publication.is_folder,
            joined(publication.tags),
        )

    async def remove(self, path: bytes) -> set[Cid]:
        """Forget it with all its files, at once; what they were."""
        return await self._catalog.write(partial(_remove, path))

    async def remove_files(self, path: bytes) -> set[Cid]:
        """Forget its files only; what they were."""
        return await self._catalog.write(partial(_remove_files, path))


def _remove(path: bytes, connection: sqlite3.Connection) -> set[Cid]:
    connection.execute("DELETE FROM publications WHERE path = ?", (path,))
    return _remove_files(path, connection)


def _remove_files(path: bytes, connection: sqlite3.Connection) -> set[Cid]:
    remove_folders(path, connection)
    return remove_shares(path, connection)
