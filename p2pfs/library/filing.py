"""From one file to its row: hash and keep it, or describe it anew.

Which file, and when, is for `ingest`; reading it is for `hashing`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from p2pfs.library.descriptions import with_media
from p2pfs.library.hashing import CHUNK_BYTES, UnsteadyError, begin_hashing, hash_rest, media_of
from p2pfs.store.shares import ShareState

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.library.hashing import Hashed
    from p2pfs.store.foldershares import FolderShares
    from p2pfs.store.shares import Share


class Filed(NamedTuple):
    """The rows of a path before and after."""

    before: Share | None
    share: Share


class Filing:
    """Writes rows; `threads` bounds how many files are read at the same moment."""

    def __init__(self, shares: FolderShares, threads: trio.CapacityLimiter) -> None:
        self._shares = shares
        self._threads = threads

    async def hash_and_keep(
        self, path: bytes, started: Callable[[], None], *, told_open: bool
    ) -> Filed:
        """Read the file and keep what it is; `started` is called once it was found steady.

        Cancelled while it reads, it leaves nothing; after that it ends what it began.  Raises
        UnsteadyError, OSError, CatalogError, NoSpaceError.
        """
        begin = partial(begin_hashing, self._shares.open_file, path, told_open=told_open)
        reading = await trio.to_thread.run_sync(begin, limiter=self._threads)
        try:
            started()
            hashed = await hash_rest(reading, self._threads)
        finally:
            os.close(reading.file.fd)
        with trio.CancelScope(shield=True):  # given up half-way, nobody would know of the row
            filed = await self._keep(hashed)
        return filed  # noqa: RET504 mypy thinks that the scope may swallow an error

    async def describe(self, share: Share) -> None:
        """Read name and tags again, without hashing, and keep them if they are others.

        Raises UnsteadyError if the file is not the one that was hashed, OSError.
        """
        open_file = self._shares.open_file
        status, media = await trio.to_thread.run_sync(media_of, open_file, share.path)
        if not share.is_of(status):
            raise UnsteadyError("it was replaced while it was looked at")
        described = with_media(share, media, self._shares.extent.tags(share.path))
        if described != share:
            await self._shares.put(replace(described, state=ShareState.ANNOUNCING, reason=""))

    async def _keep(self, hashed: Hashed) -> Filed:
        share = hashed.share(self._shares.extent.tags(hashed.file.path))
        before = self._shares.get(share.path)
        if before is not None and before.cid == share.cid:
            share = replace(share, seq=before.seq, announced_until=before.announced_until)
        await self._shares.put(share, hashed.dag.nodes, hashed.leaves, CHUNK_BYTES)
        return Filed(before, share)
