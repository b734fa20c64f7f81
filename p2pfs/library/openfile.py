"""A file of the network that is open: reads from what is here, waits for what is not.

How far to read ahead is decided in `readahead`; getting it is for `transfer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from p2pfs.library.readahead import ReadAhead, window

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.library.readahead import Budget, Stream
    from p2pfs.store.object import Object
    from p2pfs.transfer.download import Download


# As much under way as for a reader: enough for several peers at once.
_BRING_BYTES = 32 << 20


class OpenFile(Protocol):
    """A file to read, until it is closed."""

    @property
    def size(self) -> int:
        """Bytes."""

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        """Checked bytes; fewer than `length` only at the end."""

    async def bring(self, start: int, stop: int) -> None:
        """Have these bytes here and checked, and those behind them under way; readers come first.

        Raises as `read`.
        """

    def close(self) -> None:
        """Once; reads under way fail."""


class StoredFile:
    """A file whose content is, or will be, in the store.

    Its reads raise as `Download.wait` and `Object.read` do, and can be cancelled at any time.
    """

    def __init__(
        self, held: Object, download: Download, budget: Budget, closed: Callable[[], None]
    ) -> None:
        self.size = held.size
        self._object = held
        self._download = download
        self._budget = budget
        self._closed = closed
        self._ahead = ReadAhead()
        self._has_begun = False

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        """What is checked and in the page cache costs no task, no thread and no lock."""
        stop = min(offset + length, self.size)
        if offset >= stop:
            return b""
        self._read_ahead(offset, stop)
        held = self._object
        held.look_again()
        with held.presence.lease(offset, stop):
            if not held.checked.covers(offset, stop):
                await self._download.wait(offset, stop)
            if offset == 0 and not self._has_begun:
                self._has_begun = True  # containers keep their index at the end
                self._download.prefetch(self, [(self.size - 1, self.size)])
            content = held.read_nowait(offset, stop - offset)
            if content is not None:
                return content
            return await trio.to_thread.run_sync(held.read, offset, stop - offset)

    async def bring(self, start: int, stop: int) -> None:
        """Nothing is read; what is brought is leased to nobody, so it should be pinned."""
        ahead = min(start + _BRING_BYTES, self.size)
        await self._download.wait_patiently(start, stop, max(stop, ahead))

    def close(self) -> None:
        for stream in self._ahead.streams:
            self._forget(stream)
        self._download.prefetch(self, ())
        self._closed()

    def _read_ahead(self, offset: int, stop: int) -> None:
        stream, given_up = self._ahead.stream_of(offset, stop)
        if given_up is not None:
            self._forget(given_up)
        if stream.position >= stream.next_step:
            granted = self._budget.grant(stream, stream.wanted_bytes, trio.current_time())
            self._download.prefetch(stream, [window(stream, granted, self.size)])

    def _forget(self, stream: Stream) -> None:
        self._budget.release(stream)
        self._download.prefetch(stream, ())


class InlineFile:
    """A file whose content is in its CID."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self._content = content

    async def read(self, offset: int, length: int) -> bytes:
        """As any other, at once."""
        return self._content[offset : offset + length]

    async def bring(self, start: int, stop: int) -> None:
        """It is here."""

    def close(self) -> None:
        """Nothing is held."""
