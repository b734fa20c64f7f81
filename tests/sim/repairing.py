"""Repair in a simulated network: real rounds, names and records; HTTPS is handed over in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.dht.kad.repairing import Region, Repair, pull
from p2pfs.dht.kad.tending import NEIGHBOUR_SECONDS
from p2pfs.dht.recordpages import encode_named, encode_names
from p2pfs.errors import MalformedError, UnreachableError

if TYPE_CHECKING:
    from p2pfs.dht.kad.contacts import Contact
    from tests.sim.world import Node, World

# TLS's handshake with both certificates, and the heads of a request and its answer.
_HTTPS_BYTES = 4_000
_HTTPS_SECONDS = 0.2
_SILENT_SECONDS = 5.0


async def keep_repairing(world: World, node: Node) -> None:
    """What `Tending.repair` does in trio, until cancelled."""
    await node.membership.wait_settled()
    repair = Repair(node.server)
    while True:
        coming = await repair.next_round()
        for contact in coming.neighbours:
            try:
                async with asyncio.timeout(NEIGHBOUR_SECONDS):
                    await pull(_Neighbour(world, contact, repair), coming.region)
            except (UnreachableError, MalformedError, TimeoutError):
                continue
        await asyncio.sleep(coming.pause)


@dataclass(frozen=True, slots=True)
class _Neighbour:
    world: World
    contact: Contact
    repair: Repair

    async def names(self, region: Region, cursor: bytes) -> bytes:
        node, now = await self._reached(), int(self.world.clock())
        page = node.store.names(region.first, region.last, cursor, now)
        return self._sent(encode_names(page.names, page.next))

    async def named(self, names: Sequence[bytes]) -> bytes:
        node, now = await self._reached(), int(self.world.clock())
        return self._sent(encode_named(node.store.named(names, now)))

    async def missing(self, names: Sequence[bytes]) -> list[bytes]:
        return self.repair.missing(names)

    async def take(self, encoded: bytes) -> int:
        return await self.repair.take(encoded, self.contact.endpoint.ip)

    async def _reached(self) -> Node:
        node = self.world.at(self.contact.https)
        await asyncio.sleep(_SILENT_SECONDS if node is None else _HTTPS_SECONDS + node.dawdles)
        if node is None or not node.runs:
            raise UnreachableError("nobody is there any more")
        return node

    def _sent(self, answer: bytes) -> bytes:
        self.world.https_bytes += len(answer) + _HTTPS_BYTES
        return answer
