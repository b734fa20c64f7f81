"""What to look at, and when: many reasons to look at one thing become one look.

Time is trio's, so that tests can turn it.  What a look finds is for those who look.
"""

from __future__ import annotations

import math
import sys
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

import trio

K = TypeVar("K")

# Void entries that are not worth taking out before their time.
_FEW = 64


class Agenda(Generic[K]):
    """Each thing is due once, at the latest time asked for, or at once.  One task waits."""

    def __init__(self) -> None:
        # By thing, and by time: of the latter, what is not as in the former is void.  Looking
        # through thousands of waiting things at each wake cost a copy of as many files some 3 %.
        self._due: dict[K, tuple[float, int]] = {}
        self._by_time: list[tuple[float, int, K]] = []
        self._asked = count()
        self._sleeping_until = math.inf
        self._earlier = trio.Event()

    def things(self) -> list[K]:
        """What is due, now or later, in no order."""
        return list(self._due)

    def look(self, thing: K) -> None:
        """At once, after what was asked for before, and before all that just became due."""
        self._set(thing, -math.inf)

    def look_after(self, thing: K, seconds: float) -> None:
        """Once that time has passed without another call, unless it is to be at once."""
        if thing not in self._due or self._due[thing][0] != -math.inf:
            self._set(thing, trio.current_time() + seconds)

    def look_unless_due(self, thing: K) -> None:
        """At once, unless a look is due already, however late."""
        if thing not in self._due:
            self.look(thing)

    async def wait_due(self, most: int = sys.maxsize) -> list[K]:
        """Take what is due, at most so many, the earliest first; waits until something is."""
        while True:
            now = trio.current_time()
            due: list[K] = []
            while len(due) < most and self._next_at() <= now:
                due.append(self._take())
            if due:
                return due
            await self._wait_earlier()

    async def wait_next(self) -> K:
        """Take the one thing that has been due longest; waits until something is."""
        while True:
            if self._next_at() <= trio.current_time():
                return self._take()
            await self._wait_earlier()

    async def _wait_earlier(self) -> None:
        self._earlier = trio.Event()
        self._sleeping_until = self._next_at()
        with trio.move_on_at(self._sleeping_until):
            await self._earlier.wait()
        self._sleeping_until = math.inf

    def _next_at(self) -> float:
        """When the earliest is due; it is then the first of `_by_time`."""
        while self._by_time:
            at, asked, thing = self._by_time[0]
            if self._due.get(thing) == (at, asked):
                return at
            heappop(self._by_time)
        return math.inf

    def _take(self) -> K:
        _, _, thing = heappop(self._by_time)
        del self._due[thing]
        return thing

    def _set(self, thing: K, at: float) -> None:
        self._due[thing] = entry = at, next(self._asked)
        heappush(self._by_time, (*entry, thing))
        if len(self._by_time) > _FEW + 2 * len(self._due):  # most of it is void
            self._by_time = sorted((*entry, thing) for thing, entry in self._due.items())
        if at < self._sleeping_until:
            self._earlier.set()
