"""One network of those that have IPv4 alone, and of those that have IPv6 as well."""

from __future__ import annotations

import asyncio

from p2pfs.addresses import Endpoint
from tests.sim.internet import Attachment, Received
from tests.sim.world import Node, World

SEED, NODES, K = 5, 50, 8


class DualStack(Attachment):
    """An IPv4 address, and one of IPv6 with the same bits."""

    async def open(self, received: Received) -> None:
        self._other = by_ipv6(self._address)
        await super().open(received)
        self._internet.attach(self._other, received)

    def sendto(self, data: bytes, address: Endpoint) -> None:
        source = self._other if ":" in address.ip else self._address
        self._internet.send(data, source, address)

    def reaches(self, address: Endpoint) -> bool:
        return super().reaches(address) or ":" in address.ip

    @property
    def ips(self) -> tuple[str, ...]:
        return self._address.ip, self._other.ip

    def close(self) -> None:
        super().close()
        self._internet.detach(self._other)


def by_ipv6(address: Endpoint) -> Endpoint:
    high, low, *rest = map(int, address.ip.split("."))
    return Endpoint(f"2a00:{high:x}{low:02x}::{rest[0]:x}:{rest[1]:x}", address.port)


def test_who_has_both_finds_each_of_the_closest() -> None:
    with World(SEED, k=K) as world:

        async def grow() -> list[Node]:
            both: list[Node] = []
            for number in range(NODES):
                node = world.create()
                if number % 2:
                    await world.start(node, world.some_members())
                else:
                    await world.start(node, world.some_members(), router=DualStack)
                    for other in both[-2:]:
                        node.membership.add_peer(by_ipv6(other.address))
                    both.append(node)
                await asyncio.sleep(0.02)
            await asyncio.sleep(60)
            return both

        async def scenario() -> None:
            for node in await grow():
                key = world.random.randbytes(20)
                found = await node.server.finder.lookup(key)
                others = [each for each in world.closest(key, K + 1) if each is not node]
                right = [each.identity.public_key for each in others[:K]]
                assert [each.public_key for each in found.closest()] == right

        world.run(scenario())
