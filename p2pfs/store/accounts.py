"""The account of a fetched content in the catalogue: what is present, and where its leaves lie.

The statements and what they store; when they run is for `objects`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2pfs.content.cid import RAW
from p2pfs.content.intervals import Intervals
from p2pfs.content.varint import MAX_INTEGER
from p2pfs.content.walk import Leaf
from p2pfs.errors import MalformedError
from p2pfs.store.columns import root_key
from p2pfs.store.dags import forget_unused, keep_chunks, keep_fetched_root

if TYPE_CHECKING:
    import sqlite3

    from p2pfs.content.cid import Cid
    from p2pfs.store.object import Object

# Leaves looked at in one go in the loop, at a few microseconds each.
_LEAVES_A_STEP = 512


async def raw_leaves(changed: Object, landed: Intervals) -> list[tuple[bytes, int]]:
    """Digest and start of the raw leaves that have landed; framed ones are not served."""
    chunks = []
    for start, stop in landed:
        for count, leaf in enumerate(changed.leaves(start, stop), 1):
            if isinstance(leaf, Leaf) and leaf.cid.codec == RAW and not leaf.cid.is_identity:
                chunks.append((leaf.cid.digest, leaf.start))
            if count % _LEAVES_A_STEP == 0:
                await trio.lowlevel.checkpoint()
    return chunks


def write_account(
    cid: Cid,
    account: tuple[int, bytes, int, int],
    chunks: list[tuple[bytes, int]],
    connection: sqlite3.Connection,
) -> None:
    """Size, what is present encoded and in bytes, when it was used; leaves that have landed."""
    root = keep_fetched_root(connection, cid)
    keep_chunks(connection, root, chunks)
    connection.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", (root, *account))


def delete_account(cid: Cid, connection: sqlite3.Connection) -> None:
    """Forget a fetched content with its nodes and chunks, unless a share has them too."""
    row = connection.execute("SELECT id FROM roots WHERE cid = ?", (root_key(cid),)).fetchone()
    if row is None:
        return
    connection.execute("DELETE FROM objects WHERE root = ?", row)
    connection.execute("UPDATE roots SET fetched = 0 WHERE id = ?", row)
    forget_unused(connection, row[0])


def decoded(encoded: bytes, size: int) -> Intervals:
    """What is present by an account; a damaged one says nothing."""
    try:
        present = Intervals.decode(encoded)
    except MalformedError:
        return Intervals()
    present.remove(size, MAX_INTEGER)
    return present
