"""What the user wants kept: pinned contents, and for a directory everything below it.

Only the wish is here.  Fetching what is pinned is for `library.pinning`; that the cache leaves it
alone, for `room`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from p2pfs.store.columns import root_key, stored_cid

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog


_UNFINISHED = (
    "SELECT pin, content FROM pins LEFT JOIN roots ON cid = content"
    " LEFT JOIN objects ON objects.root = id"
    " WHERE pins.size > ifnull(present_bytes, 0)"
    " AND NOT EXISTS (SELECT 1 FROM shares WHERE shares.root = id)"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """What was pinned, and the contents that are kept for it: a file's own, or those below."""

    cid: Cid
    contents: tuple[Cid, ...]
    size: int
    """Bytes of content in all."""


class Pins:
    """The rows of `pins`: one a content that is kept, for each pin that it is kept for."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def is_pinned(self, root: Cid) -> bool:
        """Whether a content, or a directory that it was found in, is pinned; never waits."""
        row = self._catalog.row("SELECT 1 FROM pins WHERE content = ? LIMIT 1", root_key(root))
        return row is not None

    def contents(self) -> set[Cid]:
        """Every content that is pinned, for who has to ask about many."""
        return {stored_cid(raw) for (raw,) in self._catalog.rows("SELECT content FROM pins")}

    def all(self) -> list[Pin]:
        """Every pin, by its content id."""
        pins: dict[bytes, list[tuple[Cid, int]]] = {}
        for pin, content, size in self._catalog.rows(
            "SELECT pin, content, size FROM pins ORDER BY pin, content"
        ):
            pins.setdefault(pin, []).append((stored_cid(content), size))
        return [
            Pin(stored_cid(pin), tuple(cid for cid, _ in kept), sum(size for _, size in kept))
            for pin, kept in pins.items()
        ]

    async def unfinished(self) -> list[Cid]:
        """The pins of which not all content is here, as far as is accounted for."""
        rows = await self._catalog.look_up(_UNFINISHED)
        pins = {
            stored_cid(pin): None for pin, content in rows if stored_cid(content).inline is None
        }
        return list(pins)

    async def add(self, cid: Cid, contents: Iterable[tuple[Cid, int]]) -> None:
        """Keep these contents, each with its size, for `cid`, and itself with them."""
        await self._catalog.write(partial(_add, root_key(cid), {cid: 0} | dict(contents)))

    async def remove(self, cid: Cid) -> bool:
        """Whether it was pinned; what is kept for another pin too stays pinned."""
        return await self._catalog.write(partial(_remove, root_key(cid)))


def _add(pin: bytes, contents: dict[Cid, int], connection: sqlite3.Connection) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO pins (content, pin, size) VALUES (?, ?, ?)",
        ((root_key(content), pin, size) for content, size in contents.items()),
    )


def _remove(pin: bytes, connection: sqlite3.Connection) -> bool:
    return connection.execute("DELETE FROM pins WHERE pin = ?", (pin,)).rowcount > 0
