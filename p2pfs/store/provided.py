"""Which roots other nodes know to be here, by a provider record alone, and until when.

Saying so is for `library.providing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.store.columns import joined, root_key, split

if TYPE_CHECKING:
    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog


class Told(NamedTuple):
    """What a record says that others hold until `until`: this node is at these addresses."""

    until: int
    addresses: tuple[str, ...]


class Provided:
    """The rows of `provided`; one goes with its root."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def get(self, cid: Cid) -> Told | None:
        row = self._catalog.row(
            "SELECT until, addresses FROM provided JOIN roots ON id = root WHERE cid = ?",
            root_key(cid),
        )
        return None if row is None else Told(row[0], split(row[1]))

    async def put(self, cid: Cid, told: Told) -> None:
        """Nothing happens to a root that the catalogue does not know."""
        await self._catalog.execute(
            "INSERT OR REPLACE INTO provided SELECT id, ?, ? FROM roots WHERE cid = ?",
            told.until,
            joined(told.addresses),
            root_key(cid),
        )
