"""What to look at, and when: many reasons to look at one thing become one look.

Time is trio's, so that tests can turn it.  What a look finds is for those who look.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import trio

K = TypeVar("K")


class Agenda(Generic[K]):
    """Each thing is due once, at the latest time asked for, or at once.  One task waits."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._sleeping_until = math.inf
        self._earlier = trio.Event()

    def look(self, thing: K) -> None:
        """At once, after what was asked for before, and before all that just became due."""
        self._due.pop(thing, None)
        self._set(thing, -math.inf)

    def look_after(self, thing: K, seconds: float) -> None:
        """Once that time has passed without another call, unless it is to be at once."""
        if self._due.get(thing) != -math.inf:
            self._set(thing, trio.current_time() + seconds)

    def look_unless_due(self, thing: K) -> None:
        """At once, unless a look is due already, however late."""
        if thing not in self._due:
            self.look(thing)

    async def wait_due(self) -> list[K]:
        """Take all that is due, the earliest first; waits until something is."""
        while True:
            now = trio.current_time()
            due = sorted((t for t, at in self._due.items() if at <= now), key=self._due.__getitem__)
            for thing in due:
                del self._due[thing]
            if due:
                return due
            await self._wait_earlier()

    async def wait_next(self) -> K:
        """Take the one thing that has been due longest; waits until something is."""
        while True:
            thing = min(self._due, key=self._due.__getitem__, default=None)
            if thing is not None and self._due[thing] <= trio.current_time():
                del self._due[thing]
                return thing
            await self._wait_earlier()

    async def _wait_earlier(self) -> None:
        self._earlier = trio.Event()
        self._sleeping_until = min(self._due.values(), default=math.inf)
        with trio.move_on_at(self._sleeping_until):
            await self._earlier.wait()
        self._sleeping_until = math.inf

    def _set(self, thing: K, at: float) -> None:
        self._due[thing] = at
        if at < self._sleeping_until:
            self._earlier.set()
