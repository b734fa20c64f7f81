"""Finding out whether datagrams get through: before requests take the detour, and while they do.

A node that asks nobody else for a while may hear nothing because the only one it asks is gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.server import Server

# Who is asked before datagrams are given up: one may have gone, all of three hardly.
_WITNESSES = 3
# While requests take the detour: a datagram of 52 bytes, to see whether it is still needed.
PROBE_SECONDS = 5.0


class Lookout:
    """One node's; `look` is called again and again, on the island."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._under_way: dict[bool, asyncio.Task[None]] = {}
        self._probed = {near: float("-inf") for near in (True, False)}

    def look(self, now: float) -> None:
        """Send what is due to the near and to the far."""
        detour = self._server.detour
        if not detour.is_offered:
            return
        for near in (True, False):
            if near in self._under_way:
                continue
            if detour.is_taken(near=near):
                if now - self._probed[near] >= PROBE_SECONDS:
                    self._probed[near] = now
                    self._start(near, 1)
            elif detour.is_due(near=near):
                self._start(near, _WITNESSES)

    async def stop(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, near: bool, witnesses: int) -> None:
        task = asyncio.create_task(self._ask(near, witnesses))
        self._under_way[near] = task
        task.add_done_callback(lambda _: self._under_way.pop(near, None))

    async def _ask(self, near: bool, witnesses: int) -> None:
        server, known = self._server, self._contacts(near)
        chosen = server.settings.random.sample(known, min(witnesses, len(known)))
        await asyncio.gather(*map(server.asker.probe, chosen))
        server.detour.looked(near=near)

    def _contacts(self, near: bool) -> list[Endpoint]:
        is_near = self._server.settings.neighbourhood.is_near
        addresses = (contact.endpoint for contact in self._server.contacts())
        return [address for address in addresses if is_near(address.ip) == near]
