"""How long the mount lets a caller wait, and how many reads wait at once.

Every deadline of the project is set here and nowhere below.  `mount` reads what the kernel
allows; which errno a failure becomes is for `errnos`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, TypeVar

import trio

from p2pfs.errors import TimedOutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Content = TypeVar("Content")

# The kernel's default for a whole mount (FUSE_DEFAULT_MAX_BACKGROUND).
DEFAULT_MAX_BACKGROUND = 12
# With `max_background` reads waiting, no file's READs get through: some stay free for others.
_SPARE_READS = 4
# Reads that are getting on are never cut short to make room, only those that wait in vain.
_PATIENCE_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds after which a caller gets an errno."""

    lookup: float = 5.0  # also open
    listing: float = 2.0  # a directory of by-tag/: what is known then is shown
    folder: float = 10.0  # a directory of by-hash/, which is whole or an error
    read_stalled: float = 15.0  # without a byte of the file coming in
    read: float = 30.0

    def below(self, kernel_seconds: float) -> Deadlines:
        """Each at most half of the time after which the kernel aborts the whole mount."""
        most = kernel_seconds / 2
        return Deadlines(
            min(self.lookup, most),
            min(self.listing, most),
            min(self.folder, most),
            min(self.read_stalled, most),
            min(self.read, most),
        )


@dataclass(slots=True, eq=False)
class _Waiting:
    """One read.  `held` tells how much of its file is here, so that progress can be seen."""

    started: float
    held: Callable[[], int]
    progressed: float
    seen: int | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class WaitingReads:
    """The reads of content that wait for the network; `watch` must run beside them."""

    def __init__(self) -> None:
        self._deadlines = Deadlines()
        self._most = DEFAULT_MAX_BACKGROUND - _SPARE_READS
        self._waiting: set[_Waiting] = set()
        self._wanted = trio.Event()

    def allow(self, deadlines: Deadlines, max_background: int) -> None:
        """Let as many reads wait as leave some of the mount's background requests free."""
        self._deadlines = deadlines
        self._most = max(max_background - _SPARE_READS, 1)

    async def run(self, read: Callable[[], Awaitable[Content]], held: Callable[[], int]) -> Content:
        """The result of `read`; raises TimedOutError when it takes too long or others need room."""
        now = trio.current_time()
        waiting = _Waiting(now, held, now)
        waiting.scope.deadline = self._due(waiting)
        self._waiting.add(waiting)
        self._wanted.set()
        try:
            with waiting.scope:
                return await read()
        finally:
            self._waiting.discard(waiting)
        raise TimedOutError(f"no answer after {trio.current_time() - now:.1f} s")

    async def watch(self) -> None:
        """Give reads that get on more time, and end the most hopeless when too many wait."""
        while True:
            if not self._waiting:
                self._wanted = trio.Event()
            await self._wanted.wait()
            await trio.sleep(_LOOK_EVERY_SECONDS)
            self._look(trio.current_time())

    def _look(self, now: float) -> None:
        for waiting in self._waiting:
            held, seen = waiting.held(), waiting.seen
            waiting.seen = held
            if seen is not None and held != seen:
                waiting.progressed = now
                waiting.scope.deadline = self._due(waiting)
        in_vain = sorted(
            (each for each in self._waiting if now - each.progressed >= _PATIENCE_SECONDS),
            key=lambda each: each.progressed,
        )
        for waiting in in_vain[: max(len(self._waiting) - self._most, 0)]:
            waiting.scope.cancel()

    def _due(self, waiting: _Waiting) -> float:
        return min(
            waiting.started + self._deadlines.read,
            waiting.progressed + self._deadlines.read_stalled,
        )


def shortest(*limits: float) -> float:
    """The shortest of the kernel's request time-outs in seconds, where 0 is none."""
    return min((limit for limit in limits if limit > 0), default=inf)
