"""The published files: what was hashed of each, and opening it where it lies.

Nothing here watches the folder, hashes or announces: `library.ingest` and `library.announcing`
do.  What has no row here is nobody's business but its owner's.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfs.store.beneath import open_beneath
from p2pfs.store.columns import joined, root_key, signed, split, stored_cid, unsigned
from p2pfs.store.dags import forget_unused, keep_chunks, keep_nodes, keep_root
from p2pfs.store.errors import ShareChangedError
from p2pfs.store.share import SERVED, Share, ShareState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog, Row

_COLUMNS = (
    "path, dev, ino, shares.size, mtime_ns, cid, crc32, mime, name, title, tags, state, reason,"
    " seq, announced_until, hash_seconds, ctime_ns"
)
_SELECT = f"SELECT {_COLUMNS} FROM shares LEFT JOIN roots ON id = root "  # noqa: S608 constants
_OF_CONTENT = "WHERE root = (SELECT id FROM roots WHERE cid = ?) AND state IN (?, ?)"
_BELOW = "path > ? AND path < ?"
_STATES_BELOW = f"SELECT path, state, reason FROM shares WHERE {_BELOW}"  # noqa: S608 a constant
# No path below the share folder begins with a slash, every other one does.
_RELATIVE = "substr(path, 1, 1) != X'2F'"
_ROOT = Path("/")


class Shares:
    """The rows of `shares`, by path."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self._catalog = catalog
        self.folder = folder

    def get(self, path: bytes) -> Share | None:
        row = self._catalog.row(_SELECT + "WHERE path = ?", path)
        return None if row is None else _share(row)

    def all(self) -> list[Share]:
        """Every share, by path."""
        return [_share(row) for row in self._catalog.rows(_SELECT + "ORDER BY path")]

    def beginning(self, above: bytes) -> list[Share]:
        """The shares whose path begins so, by path; of an empty one those of the share folder."""
        if above:
            return self.below(above.removesuffix(b"/"))
        return [
            _share(row) for row in self._catalog.rows(_SELECT + f"WHERE {_RELATIVE} ORDER BY path")
        ]

    def below(self, folder: bytes) -> list[Share]:
        """The shares in a folder (without a slash at its end) and its folders."""
        rows = self._catalog.rows(_SELECT + f"WHERE {_BELOW} ORDER BY path", *_range_below(folder))
        return [_share(row) for row in rows]

    def states_below(self, folder: bytes) -> list[tuple[bytes, ShareState, str]]:
        """The paths of these, each with its state and why; quicker than all of it."""
        rows = self._catalog.rows(_STATES_BELOW, *_range_below(folder))
        return [(path, ShareState(state), reason) for path, state, reason in rows]

    def by_cid(self, cid: Cid) -> list[Share]:
        """The shares of this content that may be served, if they are what they were."""
        rows = self._catalog.rows(
            _SELECT + _OF_CONTENT,
            root_key(cid),
            *SERVED,
        )
        return [_share(row) for row in rows]

    def open_share(self, share: Share) -> int:
        """A descriptor of the file that was published; blocking.

        Raises ShareChangedError if another file is there, or none, or the way is a link.
        """
        try:
            number = self.open_file(share.path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise ShareChangedError(share.path) from error
        if not share.is_of(os.fstat(number)):
            os.close(number)
            raise ShareChangedError(share.path)
        return number

    def open_file(self, path: bytes) -> int:
        """A descriptor of what is at a path now, whatever it is; blocking.

        No link is followed on the way: below the share folder, or from `/` on.  Raises OSError.
        """
        if path.startswith(b"/"):
            return open_beneath(_ROOT, path[1:])
        return open_beneath(self.folder, path)

    async def put(
        self,
        share: Share,
        nodes: Sequence[tuple[Cid, bytes]] = (),
        leaf_digests: Sequence[bytes] = (),
        chunk_bytes: int = 1,
    ) -> None:
        """A file that was hashed: its row, its DAG's nodes and where its leaves lie, at once.

        Leaf `i` begins at `i * chunk_bytes`.
        """
        await self._catalog.write(partial(_put, share, nodes, leaf_digests, chunk_bytes))

    async def set_state(self, path: bytes, state: ShareState, reason: str = "") -> None:
        """Nothing happens to a path without a row."""
        await self._catalog.execute(
            "UPDATE shares SET state = ?, reason = ? WHERE path = ?", state, reason, path
        )

    async def confirm(self, path: bytes, ctime_ns: int) -> None:
        """With this ctime the file at `path` has the content of its row."""
        await self._catalog.execute("UPDATE shares SET ctime_ns = ? WHERE path = ?", ctime_ns, path)

    async def set_announced(self, share: Share, seq: int, announced_until: int) -> bool:
        """Another node accepted the meta-info of this share: remember it, and its being published.

        False if the path has got other content, other tags or another name in the meantime.
        """
        return await self._catalog.write(partial(_set_announced, share, seq, announced_until))

    async def remove(self, path: bytes) -> Share | None:
        """Forget the file at `path`; what it was."""
        return await self._catalog.write(partial(_remove, path))

    async def rename(self, old: bytes, new: bytes) -> list[Share]:
        """Move the row of a file, or of all files in a folder; the shares as they are now.

        What was at the new path is removed.  Names and tags stay.
        """
        return await self._catalog.write(partial(_rename, old, new))


def _put(
    share: Share,
    nodes: Iterable[tuple[Cid, bytes]],
    leaf_digests: Iterable[bytes],
    chunk_bytes: int,
    connection: sqlite3.Connection,
) -> None:
    before = _row_at(connection, share.path)
    root = None
    if share.cid is not None:
        root = keep_root(connection, share.cid)
        keep_nodes(connection, root, nodes)
        starts = ((digest, index * chunk_bytes) for index, digest in enumerate(leaf_digests))
        keep_chunks(connection, root, starts)
    file = share.path, signed(share.dev), signed(share.ino), share.size, share.mtime_ns
    content = root, share.crc32, share.mime, share.name, share.title, joined(share.tags)
    announced = share.state, share.reason, share.seq, share.announced_until
    connection.execute(
        f"INSERT OR REPLACE INTO shares VALUES ({', '.join('?' * 17)})",  # noqa: S608 marks only
        (*file, *content, *announced, share.hash_seconds, share.ctime_ns),
    )
    if before is not None:
        _leave(connection, before)


def _remove(path: bytes, connection: sqlite3.Connection) -> Share | None:
    share = _row_at(connection, path)
    if share is not None:
        connection.execute("DELETE FROM shares WHERE path = ?", (path,))
        _leave(connection, share)
    return share


def remove_shares(path: bytes, connection: sqlite3.Connection) -> set[Cid]:
    """Forget the file at `path`, or all files in that folder; what they were."""
    gone = [_remove(found, connection) for found in _paths(connection, path)]
    return {share.cid for share in gone if share is not None and share.cid is not None}


def _leave(connection: sqlite3.Connection, share: Share) -> None:
    """After a row is gone or changed: forget its content if no other row has it."""
    if share.cid is None:
        return
    root = keep_root(connection, share.cid)
    if connection.execute("SELECT 1 FROM shares WHERE root = ? LIMIT 1", (root,)).fetchone():
        return
    forget_unused(connection, root)


def _rename(old: bytes, new: bytes, connection: sqlite3.Connection) -> list[Share]:
    if old == new:
        return []
    moved = _paths(connection, old)
    for path in _paths(connection, new):
        _remove(path, connection)
    connection.executemany(
        "UPDATE shares SET path = ? WHERE path = ?",
        [(new + path[len(old) :], path) for path in moved],
    )
    found = (_row_at(connection, new + path[len(old) :]) for path in moved)
    return [share for share in found if share is not None]


def _set_announced(
    share: Share, seq: int, announced_until: int, connection: sqlite3.Connection
) -> bool:
    now = _row_at(connection, share.path)
    if now is None or (now.cid, now.name, now.title, now.tags) != (
        share.cid,
        share.name,
        share.title,
        share.tags,
    ):
        return False
    connection.execute(
        "UPDATE shares SET seq = ?, announced_until = ?, state = ?, reason = '' WHERE path = ?",
        (seq, announced_until, ShareState.PUBLISHED, share.path),
    )
    return True


def _paths(connection: sqlite3.Connection, path: bytes) -> list[bytes]:
    """The path itself and all below it, as far as they have rows."""
    rows = connection.execute(
        f"SELECT path FROM shares WHERE path = ? OR ({_BELOW})",  # noqa: S608 a constant
        (path, *_range_below(path)),
    )
    return [found for (found,) in rows]


def _row_at(connection: sqlite3.Connection, path: bytes) -> Share | None:
    row = connection.execute(_SELECT + "WHERE path = ?", (path,)).fetchone()
    return None if row is None else _share(row)


def _share(row: Row) -> Share:
    path, dev, ino, size, mtime_ns, cid, crc32, mime, name, title, tags, state, *announced = row
    content = None if cid is None else stored_cid(cid)
    rest: Row = crc32, mime, name, title, split(tags), ShareState(state), *announced
    return Share(path, unsigned(dev), unsigned(ino), size, mtime_ns, content, *rest)


def _range_below(folder: bytes) -> tuple[bytes, bytes]:
    """The paths that begin with `folder/` lie between these two; `0` follows `/`."""
    return folder + b"/", folder + b"0"
