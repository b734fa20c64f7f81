"""Raw blocks that lie in any content here, for this node's own use: found, and read.

What others may have is for `blocks`; no setting keeps anything from oneself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.store.blocks import Blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from p2pfs.content.cid import Cid
    from p2pfs.store.dags import Dags
    from p2pfs.store.objects import Objects
    from p2pfs.store.shares import Shares


class Copies:
    """`changed` is told the path of a share that is not what it was."""

    def __init__(
        self, dags: Dags, shares: Shares, objects: Objects, changed: Callable[[bytes], None]
    ) -> None:
        self._dags = dags
        self._blocks = Blocks(dags, shares, objects, lambda _: True, changed)

    async def find(self, cids: Collection[Cid], of: Cid) -> set[Cid]:
        """Those of the raw leaves of a content that another may hold; can be given up."""
        return await self._dags.known_elsewhere(cids, of)

    async def size(self, cid: Cid) -> int | None:
        """The size of a block that is here, None for any other."""
        return await self._blocks.held(cid)

    async def read(self, cid: Cid) -> bytes:
        """One block, which matches its CID; raises NotFoundError.  Can be given up."""
        return await self._blocks.read(cid)
