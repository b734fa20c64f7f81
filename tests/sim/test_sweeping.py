"""What a sweep announces is found, also where somebody has made ids for one of the contents."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.exchange import accept
from p2pfs.dht.kad.sweeping import encode_groups, find_groups
from p2pfs.dht.kad.wire import Reply, Request
from p2pfs.dht.recordpages import parse_batch
from p2pfs.dht.subjects import Subject, provider_subject
from tests.sim.adversaries import Colluders, corrupt, ground_identities
from tests.sim.records import search
from tests.sim.world import Node, World

NODES, CHUNKS, GROUND = 60, 400, 20
# So near that of so many nodes none is by chance.
NEAR = 1 << 150


def chunks() -> list[Subject]:
    """In the order of their keys."""
    made = (hashlib.sha256(b"chunk %d" % number).digest() for number in range(CHUNKS))
    subjects = (provider_subject(b"\x12\x20" + each) for each in made)
    return sorted(subjects, key=lambda subject: subject.key)


async def surround(world: World, key: bytes) -> None:
    """Twenty nodes whose ids were ground against a key swallow what is stored there."""
    crowd = Colluders()

    def lie(request: Request, honest: Reply, source: object) -> Reply:
        key_asked = getattr(request, "key", None)
        is_about = key_asked is None or distance(key_asked, key) < NEAR
        return crowd.hide(request, honest, source) if is_about else honest  # type: ignore[arg-type]

    for identity in ground_identities(key, GROUND, 20_000, world):
        node = await world.join(None, identity)
        crowd.join(node)
        corrupt(node, lie)
    await asyncio.sleep(40)


async def sweep(world: World, node: Node, left: list[Subject]) -> None:
    """As `KadOverlay.sweep` does, again and again."""
    while left:
        served = await find_groups(node.server, left)
        expires = int(world.clock()) + 86_400
        wanted = encode_groups(node.server, served.groups, [node.https], expires)
        for contact, batches in wanted.items():
            holder = world.at(contact.https)
            assert holder is not None
            for batch in batches:
                await accept(holder.server, parse_batch(batch), node.address.ip)
        left = left[len(served.subjects) :]


@pytest.mark.sim
@pytest.mark.slow
def test_contents_that_ids_were_ground_against_are_found() -> None:
    """One that a lookup is made for, and one that is met among its neighbours."""
    world, made = World(11, k=8), chunks()
    victims = [made[0], made[CHUNKS // 2]]

    async def experiment() -> list[int]:
        await world.grow(NODES, settle=20)
        sweeper, *readers = world.random.sample(world.members(), 9)
        for victim in victims:
            await surround(world, victim.key)
        await sweep(world, sweeper, made)
        return [
            sum([len(await search(world, reader, victim)) for reader in readers])
            for victim in victims
        ]

    try:
        assert world.run(experiment()) == [8, 8]
    finally:
        world.close()
