"""Who waits for which bytes of one file, until they are here or are waited for in vain.

Which of the two it is, is for `download` to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from p2pfs.content.intervals import Intervals
    from p2pfs.transfer.run import Span


class Readers:
    """In the order of their asking.  Everything but `wait` is immediate."""

    def __init__(self) -> None:
        self._waiting: dict[_Reader, Span] = {}

    @property
    def spans(self) -> Collection[Span]:
        """What they wait for, at any time."""
        return self._waiting.values()

    def is_any_at(self, start: int, stop: int) -> bool:
        """Whether one waits for some of these bytes."""
        return any(begin < stop and start < end for begin, end in self.spans)

    async def wait(self, span: Span, joined: Callable[[], None]) -> None:
        """Until this span is served, or fails; raises what it failed with.

        `joined` is called once it is among the spans.
        """
        reader = _Reader()
        self._waiting[reader] = span
        try:
            joined()
            await reader.served.wait()
        finally:
            self._waiting.pop(reader, None)
        if reader.error is not None:
            raise reader.error

    def serve(self, checked: Intervals) -> None:
        """Wake those whose bytes are among these."""
        self._end_where(checked.covers, None)

    def fail(self, error: Exception, is_lost: Callable[[int, int], object]) -> None:
        """Wake those whose span is lost, with an error."""
        self._end_where(is_lost, error)

    def fail_all(self, error: Exception) -> None:
        """Wake everybody with an error."""
        self._end_where(lambda _start, _stop: True, error)

    def _end_where(self, is_over: Callable[[int, int], object], error: Exception | None) -> None:
        for reader, span in list(self._waiting.items()):
            if is_over(*span):
                del self._waiting[reader]
                reader.error = error
                reader.served.set()


class _Reader:
    """Somebody who waits for bytes."""

    def __init__(self) -> None:
        self.served = trio.Event()
        self.error: Exception | None = None
