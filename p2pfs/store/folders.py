"""The published directories that have a content id, and what one is made from.

When a directory is to have one, and which of its entries count, is for `library.folders`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.dag_pb import parse_node
from p2pfs.content.unixfs import MAX_DIRECTORY_LINKS
from p2pfs.store.columns import stored_cid
from p2pfs.store.dags import forget_unused, keep_nodes, keep_root
from p2pfs.store.extent import Whole

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from p2pfs.content.cid import Cid
    from p2pfs.content.directory import BuiltDirectory
    from p2pfs.store.catalog import Catalog
    from p2pfs.store.extent import Extent
    from p2pfs.store.files import Stamp

# A root's key is version, codec and multihash: its own block is the node with that multihash.
_FILES = (
    "SELECT path, ino, size, mtime_ns, cid, block FROM shares JOIN roots ON id = shares.root"
    " LEFT JOIN nodes ON nodes.root = id AND multihash = substr(cid, 3)"
    " WHERE path > ? AND path < ? AND NOT instr(substr(path, ?), X'2F')"
)


class HashedFile(NamedTuple):
    """A file of a directory: which one was hashed, and its root with its block, if it has one."""

    stamp: Stamp
    cid: Cid
    block: bytes | None

    @property
    def tsize(self) -> int:
        """The bytes of all its blocks, which a link to it states."""
        if self.block is None:
            return self.stamp[1]
        links = parse_node(self.block, MAX_DIRECTORY_LINKS).links
        return len(self.block) + sum(link.tsize for link in links)


class SharedFolders:
    """The rows of `folders`, by path below one folder, as far as `extent` holds it.

    `above` is as in `FolderShares`.
    """

    def __init__(self, catalog: Catalog, above: bytes = b"", extent: Extent | None = None) -> None:
        self._catalog = catalog
        self._above = above
        self.extent = extent or Whole()

    def all(self) -> dict[bytes, Cid]:
        rows = self._catalog.rows("SELECT path, cid FROM folders JOIN roots ON id = root")
        found = {path: stored_cid(cid) for path, cid in rows}
        return {path: found[self._above + path] for path in self._own(found)}

    def files_in(self, path: bytes) -> dict[bytes, HashedFile]:
        """What was hashed of the files that lie in a directory itself, by name."""
        path = self._above + path
        begins = len(path) + 2  # counted from one, after the slash
        rows = self._catalog.rows(_FILES, path + b"/", path + b"0", begins)
        return {
            file[begins - 1 :]: HashedFile((ino, size, mtime_ns), stored_cid(cid), block)
            for file, ino, size, mtime_ns, cid, block in rows
        }

    async def put(self, path: bytes, built: BuiltDirectory) -> None:
        """From now on others may have the blocks of this directory."""
        await self._catalog.write(partial(_put, self._above + path, built))

    async def remove(self, paths: Iterable[bytes]) -> None:
        """Others may not have them any more, unless they are another directory's."""
        await self._catalog.write(partial(_remove, [self._above + path for path in paths]))

    def _own(self, paths: Iterable[bytes]) -> Iterator[bytes]:
        for path in paths:
            if path.startswith(self._above or b"/") == bool(self._above):
                below = path[len(self._above) :]
                if self.extent.holds(below):
                    yield below


def remove_folders(path: bytes, connection: sqlite3.Connection) -> None:
    """Forget a directory and all below it."""
    rows = connection.execute(
        "SELECT path FROM folders WHERE path = ? OR (path > ? AND path < ?)",
        (path, path + b"/", path + b"0"),
    )
    _remove([found for (found,) in rows.fetchall()], connection)


def _put(path: bytes, built: BuiltDirectory, connection: sqlite3.Connection) -> None:
    _remove((path,), connection)
    root = keep_root(connection, built.cid)
    keep_nodes(connection, root, [(built.cid, built.block), *built.parts])
    connection.execute("INSERT INTO folders VALUES (?, ?)", (path, root))


def _remove(paths: Iterable[bytes], connection: sqlite3.Connection) -> None:
    for path in paths:
        rows = connection.execute("SELECT root FROM folders WHERE path = ?", (path,)).fetchall()
        connection.execute("DELETE FROM folders WHERE path = ?", (path,))
        for (root,) in rows:
            forget_unused(connection, root)
