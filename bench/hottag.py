"""A tag with more entries than a key holds: a cell of the overlay's table.

    python -m bench.hottag [--nodes 300] [--entries 100000] [--seed 1]

In a simulated network.  The entries, fifty a publisher from a network of its own, are put into the
stores of the nodes that are closest, level by level as publishers do; one node more then looks the
tag up as `KadOverlay.search` does, and goes on to the last shard.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass

from bench.figures import Figures
from p2pfs.content.cid import raw_cid
from p2pfs.content.metainfo import Description, create_meta
from p2pfs.dht.records import Record, record_of
from p2pfs.dht.recordstore import is_full
from p2pfs.dht.subjects import TAG_SHARDS, Subject, shard_subject, tag_subject
from tests.sim.keys import cheap_identity
from tests.sim.records import search
from tests.sim.world import Node, World, distinct_ips

ENTRIES_A_PUBLISHER = 50
TAG = tag_subject("music")
LIFETIME_SECONDS = 86_400
SHARDS_A_BATCH = 8
BAR_SHARE, BAR_BYTES_A_SHARD, BAR_LOOKUPS = 0.99, 1.1e6, 2


@dataclass(frozen=True)
class Found:
    """What a reader got, of the first lookup and in all; the most that a node holds of a shard."""

    first: int
    share: float
    bytes_a_shard: int
    lookups: int


def entries(world: World, count: int) -> list[tuple[Record, str]]:
    """Records of level 0, and the IP that each comes from."""
    made, ips, now = [], distinct_ips(world.random), int(world.clock())
    for number in range(count):
        if number % ENTRIES_A_PUBLISHER == 0:
            key, ip = cheap_identity(2**41 + number).private_key, next(ips)
        digest = world.random.randbytes(32)
        about = Description(raw_cid(digest), f"{number}.mp3", 1, 0, "audio/mpeg", ("music",))
        expires = now + LIFETIME_SECONDS
        meta = create_meta(about, (), now * 1_000, expires, key, world.network)
        made.append((record_of(TAG, meta), ip))
    world.random.shuffle(made)
    return made


class Holders:
    """Who holds what of the tag, as publishers find it out."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._of: dict[Subject, list[Node]] = {}

    def of(self, subject: Subject) -> list[Node]:
        if subject not in self._of:
            self._of[subject] = self._world.closest(subject.key, subject.rules.copies)
        return self._of[subject]

    def publish(self, record: Record, ip: str) -> None:
        """At level 0, and at level 1 if more than half say that it is full."""
        now, full = int(self._world.clock()), 0
        for node in self.of(TAG):
            node.store.put(record, ip, now)
            full += is_full(TAG, node.store.count(TAG.key, now))
        if full * 2 > len(self.of(TAG)):
            shard = shard_subject(TAG, record.slot[32:])
            deeper = Record(shard, *fields(record))
            for node in self.of(shard):
                node.store.put(deeper, ip, now)


def fields(record: Record) -> tuple[bytes, bytes, int, int, bytes]:
    return record.value, record.publisher, record.expires, record.rank, record.slot


async def measured(world: World, nodes: int, count: int) -> Found:
    await world.grow(nodes)
    holders, made = Holders(world), entries(world, count)
    started = time.process_time()
    for record, ip in made:
        holders.publish(record, ip)
    print(f"  {count} entries stored in {time.process_time() - started:.0f} s of CPU", flush=True)
    reader = world.random.choice(world.members())
    first = await search(world, reader, TAG)
    found, lookups = set(first), 1
    shards = [tag_subject("music", 1, shard) for shard in range(TAG_SHARDS)]
    for shard in shards:
        found |= await search(world, reader, shard)
        lookups += 1
    values = {record.value for record, _ in made}
    held: Counter[tuple[Subject, bytes]] = Counter()
    for subject in (TAG, *shards):
        for node in world.members():
            rows = node.store.rows(subject.key, int(world.clock()))
            held[subject, node.node_id] = sum(len(row.value) for row in rows)
    return Found(len(first), len(found & values) / count, max(held.values()), lookups)


def cell(nodes: int, count: int, seed: int) -> Found:
    """One network, one tag."""
    with World(seed) as world:
        return world.run(measured(world, nodes, count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    found = cell(args.nodes, args.entries, args.seed)
    print(f"  {found.first} entries after the first lookup, all of {found.lookups} asked for")
    figures, name = Figures(), f"a tag of {args.entries:,}"
    figures.at_least(f"{name}: entries of the first lookup", found.first, 1, "")
    figures.at_least(f"{name}: all of it", found.share, BAR_SHARE, "")
    figures.at_most(
        f"{name}: on any node, a shard", found.bytes_a_shard / 1e6, BAR_BYTES_A_SHARD / 1e6, "MB"
    )
    figures.end()


if __name__ == "__main__":
    main()
