"""Of which files other nodes know that their chunks are here, and how far the present sweep is.

Sweeping is for `library.sweeping`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.store.columns import joined, root_key, split, stored_cid
from p2pfs.store.provided import Told
from p2pfs.store.share import ShareState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog

_NEWEST = """
SELECT cid, max(shares.size), until, addresses
FROM shares JOIN roots ON id = shares.root LEFT JOIN swept ON swept.root = id
WHERE state IN (?, ?) AND shares.size > ? GROUP BY id ORDER BY max(mtime_ns) DESC LIMIT ?
"""
_BEGUN = """
SELECT cid, max(shares.size), -until FROM swept JOIN roots ON id = swept.root
JOIN shares ON shares.root = id WHERE until <= 0 GROUP BY id
"""
# `until` of what is in a sweep that has not ended: when what was told before expires, negated; 0 of
# what is new.
_BEGIN = """
INSERT INTO swept SELECT id, 0, '' FROM roots WHERE cid = ?
ON CONFLICT (root) DO UPDATE SET until = -until, addresses = ''
"""


class SharedFile(NamedTuple):
    """A published content, and what others know of its chunks."""

    cid: Cid
    size: int
    told: Told | None


class Begun(NamedTuple):
    """A sweep under way: since when, up to which key, and of which files, with their sizes.

    `known_until`: as long as what was told before of all of them lives; 0 if some are new.
    """

    started: int
    place: bytes
    files: tuple[tuple[Cid, int], ...]
    known_until: int


class SweptFiles:
    """The rows of `swept`, one of which goes with its root, and the one of `sweep`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def newest(self, above_bytes: int, most: int) -> list[SharedFile]:
        """Published files of more than so many bytes, the last changed first."""
        states = ShareState.ANNOUNCING, ShareState.PUBLISHED
        rows = await self._catalog.look_up(_NEWEST, *states, above_bytes, most)
        return [
            SharedFile(stored_cid(cid), size, Told(abs(until), split(addresses)) if until else None)
            for cid, size, until, addresses in rows
        ]

    def begun(self) -> Begun | None:
        """The sweep that was begun and has not ended, perhaps by another run of the node."""
        row = self._catalog.row("SELECT started, place FROM sweep")
        if row is None:
            return None
        rows = self._catalog.rows(_BEGUN)
        files = tuple((stored_cid(cid), size) for cid, size, _ in rows)
        return Begun(row[0], row[1], files, min((until for *_, until in rows), default=0))

    async def begin(self, roots: Sequence[Cid], now: int) -> None:
        """A sweep of these in the place of any other."""

        def begin(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM swept WHERE until = 0")
            connection.execute("UPDATE swept SET until = -until WHERE until < 0")
            connection.executemany(_BEGIN, [(root_key(root),) for root in roots])
            connection.execute("INSERT OR REPLACE INTO sweep VALUES (1, ?, X'')", (now,))

        await self._catalog.write(begin)

    async def reach(self, place: bytes) -> None:
        """All up to this key is done."""
        await self._catalog.execute("UPDATE sweep SET place = ?", place)

    async def end(self, told: Told) -> None:
        """All of it is done, and others know until then."""

        def end(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE swept SET until = ?, addresses = ? WHERE until <= 0",
                (told.until, joined(told.addresses)),
            )
            connection.execute("DELETE FROM sweep")

        await self._catalog.write(end)
