"""What is known of the contents' DAGs: blocks without file content, and where raw leaves lie.

File content itself is in `objects` and `shares`; which of it may be served is for `blocks`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.cid import DAG_PB, block_matches
from p2pfs.content.unixfs import FileNode, parse_block, parse_file
from p2pfs.errors import MalformedError
from p2pfs.store.columns import root_key, stored_cid

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog

# A parsed node of 174 links is about 35 KB, of 1,024 about 200 KB; reading a file in sequence
# needs its path (two or three), and this is room for the paths of some fifty open files.
_PARSED_NODES = 128
# The same chunk in this many contents is enough to find one that can be read.
_MAX_PLACES = 16
_PREFIX_BYTES = 8


class Frame(NamedTuple):
    """A dag-pb block without the file content in its middle."""

    head: bytes
    tail: bytes

    def around(self, content: bytes) -> bytes:
        """The whole block again."""
        return self.head + content + self.tail


class Place(NamedTuple):
    """Where a raw leaf may lie: in the content of `root`, from byte `start`."""

    root: Cid
    start: int


class Dags:
    """Nodes and places, as the catalogue has them; every node is hashed when it comes from disk."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._parsed: OrderedDict[bytes, FileNode] = OrderedDict()

    def node(self, cid: Cid) -> FileNode | None:
        """What a dag-pb block of a file says, None if it is not known."""
        if cid.codec != DAG_PB:
            return None
        node = self._parsed.get(cid.multihash)
        if node is None:
            node = self._load(cid)
            if node is not None:
                self._remember(cid, node)
        else:
            self._parsed.move_to_end(cid.multihash)
        return node

    def block(self, cid: Cid) -> bytes | None:
        """A whole dag-pb block, None if it is not known, wrong, or known as a frame only."""
        row = self._catalog.row(
            "SELECT block FROM nodes WHERE multihash = ? AND content_size = 0 LIMIT 1",
            cid.multihash,
        )
        return row[0] if row is not None and block_matches(cid, row[0]) else None

    def frame(self, cid: Cid) -> Frame | None:
        """What is around the content of a dag-pb leaf; unchecked until content is put into it."""
        row = self._row(cid)
        if row is None:
            return None
        block, content_at, content_size = row
        if content_size:
            return Frame(block[:content_at], block[content_at:])
        node = self.node(cid)
        if node is None:
            return None
        return Frame(block[: node.data_at], block[node.data_at + node.data_size :])

    def has_frames(self, root: Cid) -> bool:
        """Whether content of it lies in dag-pb leaves, of which only the frames are kept."""
        row = self._catalog.row(
            "SELECT 1 FROM nodes JOIN roots ON id = root WHERE cid = ? AND content_size LIMIT 1",
            root_key(root),
        )
        return row is not None

    def roots_of(self, cid: Cid) -> list[Cid]:
        """The contents that a dag-pb block is known to be a part of."""
        rows = self._catalog.rows(
            "SELECT cid FROM nodes JOIN roots ON id = root WHERE multihash = ? LIMIT ?",
            cid.multihash,
            _MAX_PLACES,
        )
        return [stored_cid(raw) for (raw,) in rows]

    def places(self, cid: Cid) -> list[Place]:
        """Where a raw leaf may lie.  Only a prefix of the digest is kept: look before trusting."""
        rows = self._catalog.rows(
            "SELECT cid, start FROM chunks JOIN roots ON id = root WHERE prefix = ? LIMIT ?",
            _prefix(cid.digest),
            _MAX_PLACES,
        )
        return [Place(stored_cid(raw), start) for raw, start in rows]

    async def known_elsewhere(self, leaves: Collection[Cid], root: Cid) -> set[Cid]:
        """Those of a content's raw leaves that may lie in another one; can be given up."""
        by_prefix = {_prefix(leaf.digest): leaf for leaf in leaves}
        rows = await self._catalog.look_up(
            "SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM chunks WHERE prefix = value"
            " AND root IS NOT (SELECT id FROM roots WHERE cid = ?))",
            json.dumps(list(by_prefix)),
            root_key(root),
        )
        return {by_prefix[prefix] for (prefix,) in rows}

    def is_fetched(self, root: Cid) -> bool:
        """Whether blocks of this content came from others, so that they are public."""
        row = self._catalog.row("SELECT fetched FROM roots WHERE cid = ?", root_key(root))
        return row is not None and bool(row[0])

    def is_shared_folder(self, root: Cid) -> bool:
        """Whether this is a directory of the share folder as it is now."""
        row = self._catalog.row(
            "SELECT 1 FROM folders JOIN roots ON id = root WHERE cid = ? LIMIT 1", root_key(root)
        )
        return row is not None

    async def keep_fetched(self, root: Cid, nodes: Sequence[tuple[Cid, bytes]]) -> None:
        """Keep dag-pb blocks of a fetched content, a file or a directory.

        They are known at once, and survive a kill when this returns.  Raises MalformedError for
        a block that is not its CID's.
        """
        for cid, block in nodes:
            if not block_matches(cid, block):
                raise MalformedError(f"the block is not that of {cid}")
            node = parse_block(cid, block)
            if isinstance(node, FileNode):
                self._remember(cid, node)

        def keep(connection: sqlite3.Connection) -> None:
            keep_nodes(connection, keep_fetched_root(connection, root), nodes)

        await self._catalog.write(keep)

    def forget_parsed(self, root: Cid) -> None:
        """Do not answer from memory for what is about to be deleted of a root."""
        for (multihash,) in self._catalog.rows(
            "SELECT multihash FROM nodes JOIN roots ON id = root WHERE cid = ?", root_key(root)
        ):
            self._parsed.pop(multihash, None)

    def _row(self, cid: Cid) -> tuple[bytes, int, int] | None:
        row = self._catalog.row(
            "SELECT block, content_at, content_size FROM nodes WHERE multihash = ? LIMIT 1",
            cid.multihash,
        )
        return None if row is None else (row[0], row[1], row[2])

    def _load(self, cid: Cid) -> FileNode | None:
        row = self._row(cid)
        if row is None:
            return None
        block, content_at, content_size = row
        if not content_size:
            return _parsed(cid, block) if block_matches(cid, block) else None
        node = _parsed(cid, block[:content_at] + bytes(content_size) + block[content_at:])
        # Nothing vouches for a frame until its content was put in and hashed: it leads nowhere.
        return None if node is None or node.children else node

    def _remember(self, cid: Cid, node: FileNode) -> None:
        self._parsed[cid.multihash] = node
        self._parsed.move_to_end(cid.multihash)
        if len(self._parsed) > _PARSED_NODES:
            self._parsed.popitem(last=False)


def keep_root(connection: sqlite3.Connection, cid: Cid) -> int:
    """The id of a root, which is made if it is new."""
    key = root_key(cid)
    connection.execute("INSERT OR IGNORE INTO roots (cid) VALUES (?)", (key,))
    (root,) = connection.execute("SELECT id FROM roots WHERE cid = ?", (key,)).fetchone()
    return int(root)


def keep_fetched_root(connection: sqlite3.Connection, cid: Cid) -> int:
    """The id of a root whose blocks came from others."""
    root = keep_root(connection, cid)
    connection.execute("UPDATE roots SET fetched = 1 WHERE id = ? AND NOT fetched", (root,))
    return root


def keep_nodes(
    connection: sqlite3.Connection, root: int, nodes: Iterable[tuple[Cid, bytes]]
) -> None:
    """Dag-pb blocks of a root, already hashed; one that rotted on disk is healed."""
    connection.executemany(
        "INSERT OR REPLACE INTO nodes (multihash, root, block, content_at, content_size)"
        " VALUES (?, ?, ?, ?, ?)",
        ((cid.multihash, root, *_stripped(cid, block)) for cid, block in nodes),
    )


def keep_chunks(
    connection: sqlite3.Connection, root: int, chunks: Iterable[tuple[bytes, int]]
) -> None:
    """Digests of raw leaves of a root, each with where it starts; of twins the last counts."""
    connection.executemany(
        "INSERT OR REPLACE INTO chunks (prefix, root, start) VALUES (?, ?, ?)",
        ((_prefix(digest), root, start) for digest, start in chunks),
    )


def forget_unused(connection: sqlite3.Connection, root: int) -> None:
    """Drop a root with its nodes and chunks, unless a share, a folder or a fetch needs it."""
    connection.execute(
        "DELETE FROM roots WHERE id = ? AND NOT fetched"
        " AND NOT EXISTS (SELECT 1 FROM shares WHERE root = id)"
        " AND NOT EXISTS (SELECT 1 FROM folders WHERE root = id)",
        (root,),
    )


def _stripped(cid: Cid, block: bytes) -> tuple[bytes, int, int]:
    """A block as it is kept, and the content cut out of it: where, and how much.

    Of a leaf only the frame is kept, for its content lies in the object's file.  A node with
    parts below it is kept whole, so that the way to them can be hashed.
    """
    node = parse_block(cid, block)
    if not isinstance(node, FileNode) or node.children or not node.data_size:
        return block, 0, 0
    end = node.data_at + node.data_size
    return block[: node.data_at] + block[end:], node.data_at, node.data_size


def _parsed(cid: Cid, block: bytes) -> FileNode | None:
    try:
        return parse_file(cid, block)
    except MalformedError:
        return None


def _prefix(digest: bytes) -> int:
    """The beginning of a digest as a signed integer, the smallest key that SQLite has."""
    return int.from_bytes(digest[:_PREFIX_BYTES], "big", signed=True)
