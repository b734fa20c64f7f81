"""The accounts of fetched contents in the catalogue: what is present, and where its leaves lie.

When they are read and written is for `objects`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.content.cid import RAW
from p2pfs.content.intervals import Intervals
from p2pfs.content.varint import MAX_INTEGER
from p2pfs.content.walk import Leaf
from p2pfs.errors import MalformedError
from p2pfs.store.columns import root_key, stored_cid
from p2pfs.store.dags import forget_unused, keep_chunks, keep_fetched_root

if TYPE_CHECKING:
    import sqlite3

    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog
    from p2pfs.store.object import Object

# Leaves looked at in one go in the loop, at a few microseconds each.
_LEAVES_A_STEP = 512


@dataclass(frozen=True, slots=True)
class CachedObject:
    """A fetched content: how much of it is present, and when it was last used (UNIX seconds)."""

    cid: Cid
    size: int
    present_bytes: int
    used: int


class Accounts:
    """The rows of `objects`, by content."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def present(self, cid: Cid) -> tuple[int, Intervals] | None:
        """The size of a fetched content and what was present of it; None for any other."""
        row = self._catalog.row(
            "SELECT size, present FROM objects JOIN roots ON id = root WHERE cid = ?",
            root_key(cid),
        )
        if row is None:
            return None
        size, encoded = row
        return size, decoded(encoded, size)

    def all(self) -> dict[Cid, tuple[int, Intervals]]:
        """When each was last used, and what was present of it."""
        rows = self._catalog.rows(
            "SELECT cid, size, present, objects.used FROM objects JOIN roots ON id = root"
        )
        return {
            stored_cid(cid): (used, decoded(present, size)) for cid, size, present, used in rows
        }

    def cached(self) -> list[CachedObject]:
        """Those of which there is anything, the latest used first."""
        rows = self._catalog.rows(
            "SELECT cid, size, present_bytes, objects.used FROM objects JOIN roots ON id = root"
            " WHERE present_bytes > 0 OR size = 0 ORDER BY objects.used DESC"
        )
        return [CachedObject(stored_cid(cid), *rest) for cid, *rest in rows]

    async def save(self, changed: Object, landed: Intervals) -> None:
        """What is present of it now, used just now, and the leaves that have landed since."""
        chunks = await _raw_leaves(changed, landed)
        present = changed.present
        account = changed.size, present.encode(), present.total(), int(time.time())
        await self._catalog.write(partial(_write, changed.cid, account, chunks))

    async def correct(self, cid: Cid, present: Intervals) -> None:
        """No more than this is there."""
        if not present:
            await self.remove(cid)
            return
        await self._catalog.execute(
            "UPDATE objects SET present = ?, present_bytes = ?"
            " WHERE root = (SELECT id FROM roots WHERE cid = ?)",
            present.encode(),
            present.total(),
            root_key(cid),
        )

    async def remove(self, cid: Cid) -> None:
        """Forget a fetched content with its nodes and chunks, unless a share has them too."""
        await self._catalog.write(partial(_delete, cid))


def decoded(encoded: bytes, size: int) -> Intervals:
    """What is present by an account; a damaged one says nothing."""
    try:
        present = Intervals.decode(encoded)
    except MalformedError:
        return Intervals()
    present.remove(size, MAX_INTEGER)
    return present


async def _raw_leaves(changed: Object, landed: Intervals) -> list[tuple[bytes, int]]:
    """Digest and start of the raw leaves that have landed; framed ones are not served."""
    chunks = []
    for start, stop in landed:
        for count, leaf in enumerate(changed.leaves(start, stop), 1):
            if isinstance(leaf, Leaf) and leaf.cid.codec == RAW and not leaf.cid.is_identity:
                chunks.append((leaf.cid.digest, leaf.start))
            if count % _LEAVES_A_STEP == 0:
                await trio.lowlevel.checkpoint()
    return chunks


def _write(
    cid: Cid,
    account: tuple[int, bytes, int, int],
    chunks: list[tuple[bytes, int]],
    connection: sqlite3.Connection,
) -> None:
    """`account` is size, what is present encoded and in bytes, and when it was used."""
    root = keep_fetched_root(connection, cid)
    keep_chunks(connection, root, chunks)
    connection.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", (root, *account))


def _delete(cid: Cid, connection: sqlite3.Connection) -> None:
    row = connection.execute("SELECT id FROM roots WHERE cid = ?", (root_key(cid),)).fetchone()
    if row is None:
        return
    connection.execute("DELETE FROM objects WHERE root = ?", row)
    connection.execute("UPDATE roots SET fetched = 0 WHERE id = ?", row)
    forget_unused(connection, row[0])
