"""Which content a plain name in a listing belongs to, also after a restart.

Who gets a name is for `names` and `listings`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from p2pfs.content.cid import Cid, read_cid

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from p2pfs.store.catalog import Catalog

# A listing has at most 10,000 entries; the names of some listings in use are kept in memory.
_MAX_IN_MEMORY = 32


class ListedNames:
    """Names by tag, read on first use; `save` keeps those that are new."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: dict[str, dict[str, Cid]] = {}
        self._unsaved: dict[tuple[str, str], Cid] = {}

    def under(self, tag: str) -> Mapping[str, Cid]:
        """Each plain name and the content it belongs to; raises CatalogError."""
        kept = self._kept.get(tag)
        if kept is None:
            rows = self._catalog.rows("SELECT name, cid FROM names WHERE tag = ?", tag)
            kept = {name: read_cid(raw, 0)[0] for name, raw in rows}
            kept |= {name: cid for (at, name), cid in self._unsaved.items() if at == tag}
            self._kept[tag] = kept
            if len(self._kept) > _MAX_IN_MEMORY:
                del self._kept[next(iter(self._kept))]
        return kept

    def keep(self, tag: str, names: Mapping[str, Cid]) -> None:
        """These names belong to these contents from now on."""
        kept = self._kept.setdefault(tag, {})
        for name, cid in names.items():
            if kept.get(name) != cid:
                kept[name] = cid
                self._unsaved[tag, name] = cid

    async def save(self) -> None:
        """Keep in the catalogue what is new since the last time; raises CatalogError."""
        if self._unsaved:
            unsaved, self._unsaved = self._unsaved, {}
            rows = [(tag, name, cid.v1.encode()) for (tag, name), cid in unsaved.items()]
            await self._catalog.write(partial(_write, rows))


def _write(rows: list[tuple[str, str, bytes]], connection: sqlite3.Connection) -> None:
    connection.executemany("INSERT OR REPLACE INTO names (tag, name, cid) VALUES (?, ?, ?)", rows)
