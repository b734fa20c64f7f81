"""The user's limits on what all peers together are sent, and what they send: bytes a second.

They hold for everybody, near or far, content and all else over HTTPS; the overlay's datagrams are
not counted.  How many bytes are due is decided in `limits.Bucket`; here somebody waits for it.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import trio

from p2pfs.peers.limits import Bucket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

# What is sent in one go takes so long at the limit: with ten peers each waits 0.2 s for its turn.
_SLICE_SECONDS = 0.020
_LEAST_SLICE_BYTES = 1 << 10
# More would be no less work for the loop; it is 8 ms at 8 MiB/s.
_MOST_SLICE_BYTES = 64 << 10
# "Not here", proofs, a page of few records: counted, but never in a queue behind content ...
_SMALL_BYTES = 4 << 10
# ... unless there is so much of it that the limit would not hold.
_PATIENCE_SECONDS = 1.0


class Link:
    """One direction.  Peers take turns; the connections of one peer share its turn."""

    def __init__(self, bytes_a_second: int) -> None:
        self._bucket = Bucket(bytes_a_second)
        self._turns = WeakValueDictionary[str, trio.Lock]()
        share = int(bytes_a_second * _SLICE_SECONDS)
        self.slice_bytes = max(_LEAST_SLICE_BYTES, min(_MOST_SLICE_BYTES, share))
        """What should be taken at once, so that others need not wait for long."""
        # A slice of content is never small, however low the limit.
        self._small_bytes = min(_SMALL_BYTES, self.slice_bytes - 1)

    async def take(self, group: str, count: int) -> None:
        """Wait until so many bytes are due to this group of peers."""
        now = trio.current_time()
        if count <= self._small_bytes and self._bucket.wait(now) < _PATIENCE_SECONDS:
            self._bucket.take(count, now)
            return
        async with self._turns.setdefault(group, trio.Lock()):
            await trio.sleep(self._bucket.take(count, trio.current_time()))

    async def paced(
        self, group: str, pieces: AsyncGenerator[bytes | bytearray, None]
    ) -> AsyncGenerator[bytes | bytearray, None]:
        """The same bytes in slices, each when it is due."""
        async with aclosing(pieces):
            async for piece in pieces:
                if len(piece) <= _SMALL_BYTES:
                    await self.take(group, len(piece))
                    yield piece
                    continue
                for start in range(0, len(piece), self.slice_bytes):
                    part = piece[start : start + self.slice_bytes]
                    await self.take(group, len(part))
                    yield part
