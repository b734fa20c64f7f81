"""Who waits for which bytes of one file, until they are here or are waited for in vain.

Which of the two it is, is for `download` to say.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from p2pfs.content.intervals import Intervals
    from p2pfs.transfer.run import Span


class Readers:
    """In the order of their asking.  Everything but the two waits is immediate.

    Those who are patient come after all others, and after what is read ahead.
    """

    def __init__(self) -> None:
        self._blocked: dict[_Reader, Span] = {}
        self._patient: dict[_Reader, Span] = {}
        self.later: dict[object, tuple[Span, ...]] = {}
        """What those who are patient want, and what they will want next."""

    @property
    def blocked(self) -> Collection[Span]:
        """What those wait for, at any time, who come first."""
        return self._blocked.values()

    @property
    def spans(self) -> Collection[Span]:
        """What all of them wait for now."""
        return [*self._blocked.values(), *self._patient.values()]

    def is_any_at(self, start: int, stop: int) -> bool:
        """Whether one waits for some of these bytes, or is patient and will want them."""
        wanted = chain(self._blocked.values(), *self.later.values())
        return any(begin < stop and start < end for begin, end in wanted)

    async def wait(self, span: Span, joined: Callable[[], None]) -> None:
        """Until this span is served, or fails; raises what it failed with.

        `joined` is called once it is among the spans.
        """
        reader = _Reader()
        self._blocked[reader] = span
        await self._wait(reader, joined)

    async def wait_patiently(self, span: Span, ahead: int, joined: Callable[[], None]) -> None:
        """As `wait`, last of all; what follows up to `ahead` is wanted meanwhile."""
        reader = _Reader()
        self._patient[reader] = span
        self.later[reader] = ((span[0], ahead),)
        await self._wait(reader, joined)

    async def _wait(self, reader: _Reader, joined: Callable[[], None]) -> None:
        try:
            joined()
            await reader.served.wait()
        finally:
            self._forget(reader)
        if reader.error is not None:
            raise reader.error

    def _forget(self, reader: _Reader) -> None:
        for where in (self._blocked, self._patient, self.later):
            where.pop(reader, None)

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
        for reader, span in [*self._blocked.items(), *self._patient.items()]:
            if is_over(*span):
                self._forget(reader)
                reader.error = error
                reader.served.set()


class _Reader:
    """Somebody who waits for bytes."""

    def __init__(self) -> None:
        self.served = trio.Event()
        self.error: Exception | None = None
