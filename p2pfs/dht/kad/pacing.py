"""How many keys are placed at once: as many as the network and this machine keep up with.

A publisher of many files could have a thousand questions under way.  Where a line or a processor
cannot take that, answers come after their time-outs, everything is asked again, and nothing gets
done.  So the number falls and rises as TCP's window does (RFC 5681): by half when those that had
answered before fall silent, by one after as many placements without that.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2pfs.dht.kad.acquaintances import Acquaintances

# A few files' keys; each placement has up to 32 questions under way.
_MOST = 32
# Half of one file's: what any line takes, and soon more where it does.
_FIRST = 8
# Bad links lose one datagram in a hundred, and some nodes leave; more than this is a jam.
_MOST_SILENT = 1 / 8


class Pace:
    """One node's; `async with pace.turn()` waits until one more may be placed."""

    def __init__(self, acquaintances: Acquaintances) -> None:
        self._acquaintances = acquaintances
        self._free = asyncio.Semaphore(_FIRST)
        self._allowed = _FIRST
        self._surplus = 0  # those under way that are too many by now
        self._gained = 0
        self._cuts = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One placement; what became of all questions in its time says how to go on."""
        await self._free.acquire()
        while self._surplus and not self._free.locked():  # a cut came while they were idle
            self._surplus -= 1
            await self._free.acquire()  # at once
        cuts, before = self._cuts, self._acquaintances.tally
        try:
            yield
        finally:
            during = self._acquaintances.tally - before
            if during.silent_share > _MOST_SILENT:
                if cuts == self._cuts:  # one jam is met by all that are under way
                    self._cut()
            else:
                self._gain()
            self._release()

    def _cut(self) -> None:
        self._cuts += 1
        self._gained = 0
        less = self._allowed // 2
        self._allowed -= less
        self._surplus += less

    def _gain(self) -> None:
        self._gained += 1
        if self._gained >= self._allowed and self._allowed < _MOST:
            self._gained = 0
            self._allowed += 1
            self._release()

    def _release(self) -> None:
        if self._surplus:
            self._surplus -= 1
        else:
            self._free.release()
