"""The rows of one folder's files in the catalogue and in memory, and who is told of their changes.

What became of a file is found out by `ingest`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pfs.library.known import Known

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.content.cid import Cid
    from p2pfs.library.filing import Filed
    from p2pfs.store.foldershares import FolderShares
    from p2pfs.store.share import Share


class Register:
    """`changed` is told of each CID whose files are others now, `touched` of each path."""

    def __init__(
        self,
        shares: FolderShares,
        changed: Callable[[Cid], None],
        touched: Callable[[bytes], None],
    ) -> None:
        self._shares = shares
        self._changed = changed
        self._touched = touched
        self.known = Known()

    def filed(self, filed: Filed) -> None:
        """The file was hashed, and its row is written."""
        before, share = filed
        self.known.remember(share)
        if share == before:
            return  # hashed again, and the same
        self._touched(share.path)
        self.redescribed(share)
        if before is not None and before.cid != share.cid:
            self.redescribed(before)

    async def withdraw(self, share: Share) -> None:
        """There is no such file any more, or it is another."""
        await self._shares.remove(share.path)
        self._touched(share.path)
        self.known.forget(share.path)
        self.redescribed(share)

    async def move(self, old: bytes, new: bytes) -> list[Share]:
        """A file is called `new` now; the rows that moved, which are still to be described."""
        replaced = self._shares.get(new)
        moved = await self._shares.rename(old, new)
        self._touched(old)
        self._touched(new)
        self.known.forget(old)
        for share in moved:
            self.known.remember(share)
        if replaced is not None:
            self.redescribed(replaced)
        return moved

    async def link(self, old: bytes, new: bytes) -> list[Share]:
        """A second name of one file has the content of the first, and its own name and tags.

        Its row, which is still to be described; none if there is none of the first.
        """
        share, replaced = self._shares.get(old), self._shares.get(new)
        if share is None:
            return []
        linked = replace(share, path=new)
        await self._shares.put(linked)
        self._touched(new)
        self.known.remember(linked)
        if replaced is not None:
            self.redescribed(replaced)
        return [linked]

    def redescribed(self, share: Share) -> None:
        """Other files than before have its content, or the same otherwise described."""
        if share.cid is not None:
            self._changed(share.cid)
