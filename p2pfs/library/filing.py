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
from p2pfs.store.files import exact_stamp_of
from p2pfs.store.share import ShareState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2pfs.library.hashing import Hashed, Reading
    from p2pfs.store.foldershares import FolderShares
    from p2pfs.store.share import Share


class Filed(NamedTuple):
    """The rows of a path before and after."""

    before: Share | None
    share: Share


class Described(NamedTuple):
    """The row of a path now, and the file's ctime and number of names when it was looked at."""

    share: Share
    ctime_ns: int
    names: int

    @property
    def is_certain(self) -> bool:
        """Whether the content of the row is that of the file for certain."""
        return self.ctime_ns == self.share.ctime_ns


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
        reading = await self._begin(path, told_open)
        try:
            started()
            hashed = await hash_rest(reading, self._threads)
        finally:
            os.close(reading.file.fd)
        with trio.CancelScope(shield=True):  # given up half-way, nobody would know of the row
            filed = await self._keep(hashed)
        return filed  # noqa: RET504 mypy thinks that the scope may swallow an error

    async def hash_again(
        self, path: bytes, give_way: Callable[[], Awaitable[None]], *, told_open: bool
    ) -> Filed:
        """Find out whether the file still is what its row says, and keep what it is if not.

        `give_way` is waited for before each hop, all else is as in `hash_and_keep`.
        """
        reading = await self._begin(path, told_open)
        try:
            hashed = await hash_rest(reading, self._threads, give_way)
        finally:
            os.close(reading.file.fd)
        with trio.CancelScope(shield=True):
            filed = await self._confirm(hashed) or await self._keep(hashed)
        return filed  # noqa: RET504 as above

    async def describe(self, share: Share) -> Described:
        """Read name and tags again, without hashing, and keep them if they are others.

        Raises UnsteadyError if the file is not the one that was hashed, OSError.
        """
        open_file = self._shares.open_file
        status, media = await trio.to_thread.run_sync(media_of, open_file, share.path)
        if not share.is_of(status):
            raise UnsteadyError("it was replaced while it was looked at")
        described = with_media(share, media, self._shares.extent.tags(share.path))
        if described != share:
            described = replace(described, state=ShareState.ANNOUNCING, reason="")
            await self._shares.put(described)
        return Described(described, exact_stamp_of(status)[-1], status.st_nlink)

    async def confirm(self, share: Share, ctime_ns: int) -> Share:
        """With this ctime the file has the content of its row, for certain."""
        await self._shares.confirm(share.path, ctime_ns)
        return replace(share, ctime_ns=ctime_ns)

    async def _begin(self, path: bytes, told_open: bool) -> Reading:
        begin = partial(begin_hashing, self._shares.open_file, path, told_open=told_open)
        return await trio.to_thread.run_sync(begin, limiter=self._threads)

    async def _confirm(self, hashed: Hashed) -> Filed | None:
        """None if the row says anything else, or there is none."""
        path, status = hashed.file.path, hashed.file.status
        before = self._shares.get(path)
        if before is None or before.cid != hashed.dag.cid or not before.is_of(status):
            return None
        if with_media(before, hashed.media, self._shares.extent.tags(path)) != before:
            return None
        confirmed = replace(before, ctime_ns=exact_stamp_of(status)[-1])
        await self._shares.confirm(path, confirmed.ctime_ns)
        return Filed(before, confirmed)

    async def _keep(self, hashed: Hashed) -> Filed:
        share = hashed.share(self._shares.extent.tags(hashed.file.path))
        before = self._shares.get(share.path)
        if before is not None and before.cid == share.cid:
            share = replace(share, seq=before.seq, announced_until=before.announced_until)
        await self._shares.put(share, hashed.dag.nodes, hashed.leaves, CHUNK_BYTES)
        return Filed(before, share)
