"""The shares of one folder, by paths relative to it: the share folder, or one that lies elsewhere.

What is stored of files elsewhere is their absolute path; whoever describes a file is given only
the relative one, so that nothing above what was published can get into names and tags.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfs.store.extent import Whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.store.extent import Chosen, Extent
    from p2pfs.store.share import Share, ShareState
    from p2pfs.store.shares import Shares


class FolderShares:
    """Those of the rows of `shares` whose path begins with `above`, as far as `extent` holds them.

    `above` is empty for the share folder, else an absolute path with a slash at its end.
    """

    def __init__(self, shares: Shares, folder: Path, above: bytes, extent: Extent) -> None:
        self._shares = shares
        self._above = above
        self.folder = folder
        self.extent = extent

    def is_in_place(self) -> bool:
        """Whether no link has come into the way to a folder elsewhere; blocking."""
        return not self._above or os.path.realpath(self.folder) == str(self.folder)

    def open_file(self, path: bytes) -> int:
        """A descriptor of what is at a path now, whatever it is; blocking, raises OSError."""
        return self._shares.open_file(self._above + path)

    def get(self, path: bytes) -> Share | None:
        found = self._shares.get(self._above + path)
        return None if found is None else self._relative(found)

    def all(self) -> list[Share]:
        """Every share, by path."""
        found = self._shares.beginning(self._above)
        return [share for share in map(self._relative, found) if self.extent.holds(share.path)]

    def below(self, folder: bytes) -> list[Share]:
        """The shares in a folder (without a slash at its end) and its folders."""
        return list(map(self._relative, self._shares.below(self._above + folder)))

    def states_below(self, folder: bytes) -> dict[bytes, tuple[ShareState, str]]:
        """The states of these, by path; a hundred thousand take 0.2 s."""
        cut = len(self._above)
        found = self._shares.states_below(self._above + folder)
        return {path[cut:]: (state, reason) for path, state, reason in found}

    async def put(
        self,
        share: Share,
        nodes: Sequence[tuple[Cid, bytes]] = (),
        leaf_digests: Sequence[bytes] = (),
        chunk_bytes: int = 1,
    ) -> None:
        """As `Shares.put`."""
        stored = replace(share, path=self._above + share.path)
        await self._shares.put(stored, nodes, leaf_digests, chunk_bytes)

    async def confirm(self, path: bytes, ctime_ns: int) -> None:
        """As `Shares.confirm`."""
        await self._shares.confirm(self._above + path, ctime_ns)

    async def remove(self, path: bytes) -> None:
        """Forget the file at `path`."""
        await self._shares.remove(self._above + path)

    async def rename(self, old: bytes, new: bytes) -> list[Share]:
        """As `Shares.rename`."""
        moved = await self._shares.rename(self._above + old, self._above + new)
        return list(map(self._relative, moved))

    def _relative(self, share: Share) -> Share:
        return replace(share, path=share.path[len(self._above) :]) if self._above else share


def in_share_folder(shares: Shares) -> FolderShares:
    """Those of the share folder."""
    return FolderShares(shares, shares.folder, b"", Whole())


def elsewhere(shares: Shares, above: bytes, chosen: Chosen) -> FolderShares:
    """Those of what was chosen of a folder (absolute, a slash at its end) outside of it."""
    return FolderShares(shares, Path(os.fsdecode(above)), above, chosen)
