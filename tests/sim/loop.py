"""An asyncio loop on virtual time: it never sleeps, but jumps to the next thing that is due.

No sockets, no threads, no signals: whatever happens was scheduled by what runs on it, so the same
beginning always leads to the same end.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from contextvars import Context

# Most timers guard an answer that comes: those that were cancelled are swept out when they are so
# many, and more than half of all.
_MOST_CANCELLED = 1_000


class _Timer(asyncio.TimerHandle):
    """As asyncio's own; with the mark that its loop keeps there, which typeshed leaves out."""

    __slots__ = ()
    _scheduled: bool


class _Posted:
    """What is called once and cannot be cancelled; asyncio's own handles cost four times as much.

    What it raises ends the simulation.
    """

    __slots__ = ("_scheduled", "args", "callback")
    _scheduled: bool
    _cancelled = False

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        self.callback = callback
        self.args = args

    def cancelled(self) -> bool:
        return False

    def _run(self) -> None:
        self.callback(*self.args)


class StuckError(RuntimeError):
    """Everybody waits for somebody else, and no timer will ever change that."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Time begins at 0 and passes only while nobody has anything to do.

    The turn of asyncio's own loop is for sockets, and it compares timers in Python: for a datagram
    in memory that costs as much as what is in it.
    """

    # Of asyncio's own loop, where typeshed leaves them out.
    _ready: deque[asyncio.Handle | _Posted]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        # Compared in C; those due at the same time go off in the order in which they were set.
        self._timers: list[tuple[float, int, _Timer | _Posted]] = []
        self._numbers = itertools.count()
        self._cancelled = 0

    def time(self) -> float:
        return self._now

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> _Timer:
        timer = _Timer(when, callback, args, self, context)
        timer._scheduled = True
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def post(self, seconds: float, callback: Callable[..., object], *args: object) -> None:
        """As `call_later`, for what nobody will want to cancel."""
        due = self._now + seconds
        heapq.heappush(self._timers, (due, next(self._numbers), _Posted(callback, args)))

    def _timer_handle_cancelled(self, handle: _Timer) -> None:
        self._cancelled += handle._scheduled

    def _run_once(self) -> None:
        ready = self._ready
        if not ready and not self._stopping:
            self._now = max(self._now, self._next_time())
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            ready.append(self._popped())
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _next_time(self) -> float:
        """When the next timer goes off; for those that were cancelled no time is to pass."""
        if self._cancelled > max(_MOST_CANCELLED, len(self._timers) // 2):
            self._timers = [each for each in self._timers if not each[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled = 0
        while self._timers and self._timers[0][2].cancelled():
            self._popped()
        if not self._timers:
            raise StuckError("nothing is ready, and nothing is due")
        return self._timers[0][0]

    def _popped(self) -> _Timer | _Posted:
        timer = heapq.heappop(self._timers)[2]
        timer._scheduled = False
        self._cancelled -= timer.cancelled()
        return timer

    def _write_to_self(self) -> None:
        """Nobody else is there who could be asleep."""
