from __future__ import annotations

import asyncio
import hashlib
import logging
import time

import pytest

from p2pfs.addresses import prefix_group
from tests.sim.keys import REAL, real_identity
from tests.sim.records import publish, search, some_subject
from tests.sim.world import World

SEED = 20


def trace(seed: int, count: int) -> str:
    """A hash of every datagram of a network's youth: when, from where, to where, what."""
    seen = hashlib.sha256()
    with World(seed, loss=0.02) as world:

        def tap(data: bytes, source: object, to: object) -> None:
            seen.update(f"{world.loop.time()} {source} {to} ".encode() + data)

        world.internet.taps.append(tap)
        world.run(world.grow(count, settle=10))
    return seen.hexdigest()


def test_the_same_seed_gives_the_same_datagrams() -> None:
    assert trace(SEED, 20) == trace(SEED, 20)
    assert trace(SEED, 20) != trace(SEED + 1, 20)


def test_no_two_nodes_share_a_network() -> None:
    with World(SEED) as world:
        wide = {prefix_group(world.create().address.ip)[0] for _ in range(2_000)}
        assert len(wide) == 2_000


def test_nodes_with_real_signatures_join_publish_and_find() -> None:
    with World(SEED, network=REAL, identity=real_identity) as world:
        world.run(world.grow(30, settle=20))
        subject = some_subject(1)
        assert world.run(publish(world, world.nodes[3], subject)) >= 20
        assert len(world.run(search(world, world.nodes[-1], subject))) == 1


def test_a_parted_network_grows_together_again() -> None:
    with World(SEED) as world:
        world.run(world.grow(24, settle=20))
        sides = (
            {node.address.ip for node in world.nodes[:12]},
            {node.address.ip for node in world.nodes[12:]},
        )
        world.internet.part(*sides)
        world.run(asyncio.sleep(600))
        world.internet.heal()
        world.run(asyncio.sleep(120))
        subject = some_subject(2)
        assert world.run(publish(world, world.nodes[0], subject)) >= 20
        assert world.run(search(world, world.nodes[-1], subject))


@pytest.mark.sim
@pytest.mark.slow
def test_lookups_in_a_grown_network_are_exact() -> None:
    with World(SEED, k=8) as world:
        began = time.process_time()
        world.run(world.grow(150))
        print(f"seed {SEED}: 150 nodes in {time.process_time() - began:.1f} s of CPU")
        hits = 0
        for _ in range(50):
            key = world.random.randbytes(20)
            reader = world.random.choice(world.nodes)
            found = world.run(reader.server.finder.lookup(key)).closest()
            right = [node for node in world.closest(key, 9) if node is not reader][:8]
            hits += len(
                {each.public_key for each in found} & {n.identity.public_key for n in right}
            )
        assert hits / (50 * 8) >= 0.999


def test_what_a_node_would_only_log_ends_a_simulation() -> None:
    with World(SEED) as world:
        logging.getLogger("p2pfs.dht").error("a datagram could not be handled")
        with pytest.raises(AssertionError, match="seed 20: a datagram could not be handled"):
            world.run(asyncio.sleep(1))
        world._alarm.rung = None
