"""The contents that others may have: which they are, and reading spans of them where they lie.

Shares come first, as they lie; what was fetched is hashed once a run before it is given away.
Which blocks they consist of is for `blocks`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import trio

from p2pfs.content.intervals import Intervals
from p2pfs.errors import IntegrityError, NotFoundError
from p2pfs.store.errors import CacheError, ShareChangedError
from p2pfs.store.files import ShareFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.content.cid import Cid
    from p2pfs.store.dags import Dags
    from p2pfs.store.object import Object
    from p2pfs.store.objects import Objects
    from p2pfs.store.pieces import Span
    from p2pfs.store.share import Share
    from p2pfs.store.shares import Shares

# A disk that hangs under a share must leave threads to everybody else.
_READS_AT_ONCE = 16


class Offered:
    """Contents by their roots; `reads` bounds the threads that read them.

    `seeds` and `changed` are as in `Blocks`.
    """

    def __init__(
        self,
        dags: Dags,
        shares: Shares,
        objects: Objects,
        seeds: Callable[[Cid], bool],
        changed: Callable[[bytes], None],
    ) -> None:
        self._dags = dags
        self._shares = shares
        self._objects = objects
        self._seeds = seeds
        self._changed = changed
        self.reads = trio.CapacityLimiter(_READS_AT_ONCE)

    def size(self, cid: Cid) -> int | None:
        """The size of a file that is shared or was fetched, at least in part, under this CID."""
        for share in self._shares.by_cid(cid):
            return share.size
        held = self._objects.held(cid)
        return None if held is None else held[0]

    async def coverage(self, root: Cid) -> Intervals | None:
        """Which content of a root may be had; None if not even its nodes may."""
        for share in self._shares.by_cid(root):
            try:
                await self._read_shared(share, [])
            except ShareChangedError:
                self._changed(share.path)
            else:
                return Intervals([(0, share.size)])
        if not self._is_given(root):
            return None
        held = self._objects.held(root)
        return Intervals() if held is None else held[1]

    async def read(self, root: Cid, spans: list[Span]) -> bool:
        """Fill the spans' buffers; whether what was read is certain to be right.

        Raises NotFoundError, also as ShareChangedError; without spans if the root is gone.
        """
        changed: ShareChangedError | None = None
        for share in self._shares.by_cid(root):
            try:
                return await self._read_shared(share, spans)
            except ShareChangedError as error:
                self._changed(share.path)
                changed = error
        if not self._is_given(root):
            raise changed or NotFoundError(f"{root} is not here")
        await self._read_fetched(root, spans)
        return True

    def report(self, root: Cid) -> None:
        """What was read of it was wrong."""
        for share in self._shares.by_cid(root):
            self._changed(share.path)

    def _is_given(self, root: Cid) -> bool:
        fetched = self._dags.is_fetched(root) and self._seeds(root)
        return fetched or self._dags.is_shared_folder(root)

    async def _read_shared(self, share: Share, spans: list[Span]) -> bool:
        """As `_read_share`; can be given up: who asks may have no time for a disk that hangs."""
        return await trio.to_thread.run_sync(
            self._read_share, share, spans, limiter=self.reads, abandon_on_cancel=True
        )

    def _read_share(self, share: Share, spans: list[Span]) -> bool:
        """Whether the file is certain to be what was hashed."""
        file = ShareFile(share, self._shares.open_share(share))
        try:
            for span in spans:
                file.read_into(span.start, span.buffers)
            return file.is_certain
        finally:
            file.close()

    async def _read_fetched(self, root: Cid, spans: list[Span]) -> None:
        if not spans:
            return
        size = self.size(root)
        if size is None:
            raise NotFoundError(f"{root} is not here")
        opened = self._objects.open(root, size)
        leases = ExitStack()  # before it is looked what is here
        for span in spans:
            leases.enter_context(opened.presence.lease(span.start, span.stop))
        try:
            for span in spans:
                await opened.check(span.start, span.stop)
            await trio.to_thread.run_sync(_read_object, opened, spans, limiter=self.reads)
        except (IntegrityError, CacheError) as error:  # it was wrong, or was taken away
            raise NotFoundError(f"{root} is not here any more") from error
        finally:
            leases.close()
            self._objects.close(opened)


def _read_object(opened: Object, spans: list[Span]) -> None:
    for span in spans:
        opened.read_into(span.start, span.buffers)
