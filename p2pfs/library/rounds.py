"""Going over contents that the network is to know of: each when it is due, a few at a time.

What is said of one, and when it is due again, is for `announcing` and `providing`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.content.cid import Cid
from p2pfs.library.agenda import Agenda
from p2pfs.library.surroundings import watch_surroundings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from p2pfs.addresses import Endpoint

# Each is up to some twenty lookups, which wait for the network and not for each other.
_AT_ONCE = 4
NO_PEERS = "no peers yet"


class Rounds:
    """`bring_up_to_date` is called for each content that is due, never twice at once for one.

    When this node's addresses or its clock are others than before, `all_of_them` are due.
    """

    def __init__(
        self,
        bring_up_to_date: Callable[[Cid], Awaitable[None]],
        all_of_them: Callable[[], Iterable[Cid]],
        addresses: Callable[[], Sequence[Endpoint]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bring_up_to_date = bring_up_to_date
        self._all_of_them = all_of_them
        self._addresses = addresses
        self._clock = clock
        self._agenda: Agenda[Cid] = Agenda()
        self._busy: set[Cid] = set()
        self._again: set[Cid] = set()

    def look(self, cid: Cid) -> None:
        """As `Agenda.look`."""
        self._agenda.look(cid)

    def look_after(self, cid: Cid, seconds: float) -> None:
        """As `Agenda.look_after`."""
        self._agenda.look_after(cid, seconds)

    def look_at_all(self) -> None:
        """Soon, but after what is to be looked at at once."""
        for cid in self._all_of_them():
            self._agenda.look_after(cid, 0)

    async def run(self) -> None:
        """Until cancelled."""
        async with open_nursery() as nursery:
            send, receive = trio.open_memory_channel[Cid](0)
            for _ in range(_AT_ONCE):
                nursery.start_soon(self._work, receive)
            nursery.start_soon(watch_surroundings, self._addresses, self._clock, self.look_at_all)
            while True:
                await send.send(await self._agenda.wait_next())

    async def _work(self, due: trio.MemoryReceiveChannel[Cid]) -> None:
        async for cid in due:
            if cid in self._busy:
                self._again.add(cid)
                continue
            self._busy.add(cid)
            try:
                await self._bring_up_to_date(cid)
            finally:
                self._busy.discard(cid)
                if cid in self._again:
                    self._again.discard(cid)
                    self._agenda.look(cid)
