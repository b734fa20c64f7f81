"""Blocks that were fetched without any content: directories, and the roots of files nobody read.

They lie in the catalogue; what they take is counted with the cache's files, and goes as they do.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from p2pfs.store.columns import root_key, stored_cid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog
    from p2pfs.store.dags import Dags
    from p2pfs.store.usage import Usage

# The key of a root is version and codec before the multihash; SQLite joins blobs as text.
_AS_ROOT = "CAST(X'0170' || multihash AS BLOB)"
_BYTES = (
    "SELECT cid, roots.used, sum(length(block)) FROM roots JOIN nodes ON root = id"
    " WHERE fetched AND NOT EXISTS (SELECT 1 FROM objects WHERE objects.root = id) GROUP BY id"
)
_NEEDED = (
    "SELECT 1 FROM roots JOIN nodes ON root = id WHERE cid = ?"  # noqa: S608 a constant
    f" AND (EXISTS (SELECT 1 FROM pins WHERE content = {_AS_ROOT}) OR EXISTS (SELECT 1 FROM roots r"
    f" JOIN objects o ON o.root = r.id WHERE r.cid = {_AS_ROOT} AND r.id != roots.id)) LIMIT 1"
)


class Directories:
    """What each takes is in `usage` from the moment it is kept."""

    def __init__(self, catalog: Catalog, dags: Dags, usage: Usage) -> None:
        self._catalog = catalog
        self._dags = dags
        self._usage = usage

    def all(self) -> list[tuple[int, Cid, int]]:
        """When each was fetched (UNIX seconds), and the bytes it takes."""
        return [(used, stored_cid(cid), size) for cid, used, size in self._catalog.rows(_BYTES)]

    async def keep(self, root: Cid, blocks: Sequence[tuple[Cid, bytes]]) -> None:
        """Dag-pb blocks of a root and of what is in it; raises as `Dags.keep_fetched`."""
        await self._dags.keep_fetched(root, blocks)
        self._usage.add(root.v1, sum(len(block) for _, block in blocks))
        await self._catalog.execute(
            "UPDATE roots SET used = ? WHERE cid = ?", int(time.time()), root_key(root)
        )

    def is_needed(self, root: Cid) -> bool:
        """Whether the blocks of something else that is cached or pinned lie with this one."""
        return self._catalog.row(_NEEDED, root_key(root)) is not None
