"""Announcing many chunk ids in one sweep: a cell of the overlay's table.

    python -m bench.sweep [--nodes 1000] [--chunks 100000] [--seed 1]

The overlay's own code in a simulated network; batches, over HTTPS in truth, are handed to the
holder after two round trips, at most 300 requests a second in all.  What is sent counts whole:
datagrams with their headers, batches with a kilobyte for TLS and HTTP.  Then lookups from other
nodes: is the sweeper found as the provider of a random chunk?
"""

from __future__ import annotations

import argparse
import asyncio  # noqa: TID251 the simulated network runs on its loop
import hashlib
from dataclasses import dataclass

from bench.figures import Figures
from p2pfs.dht.kad.contacts import Contact
from p2pfs.dht.kad.exchange import accept
from p2pfs.dht.kad.sweeping import encode_groups, find_groups
from p2pfs.dht.kad.traffic import POSTS_AT_ONCE
from p2pfs.dht.recordpages import parse_batch
from p2pfs.dht.subjects import Subject, provider_subject
from p2pfs.library.sweeping import LANE_CHUNKS, LANES
from tests.sim.records import search
from tests.sim.world import Node, World

REQUESTS_A_SECOND = 300
LOOKED_FOR = 300
HTTPS_SECONDS = 0.1
HEADER_BYTES, HTTPS_BYTES = 28, 1_000
LIFETIME_SECONDS = 86_400
# Seconds for 100,000 chunks, by the number of nodes.
BARS = {1_000: 90, 10_000: 600}
BAR_BYTES = 120e6
BAR_FOUND = 0.999


@dataclass(frozen=True)
class Cost:
    """Of one sweep: virtual seconds, bytes, requests by datagram and by HTTPS."""

    seconds: float
    sent: float
    asked: int
    posts: int


def some_chunks(count: int) -> list[Subject]:
    """In the order of their keys."""
    made = (
        provider_subject(b"\x12\x20" + hashlib.sha256(b"chunk %d" % number).digest())
        for number in range(count)
    )
    return sorted(made, key=lambda subject: subject.key)


async def sweep(world: World, node: Node, chunks: list[Subject]) -> Cost:
    """As `KadOverlay.sweep` and `library.sweeping` do together."""
    loop, traffic = asyncio.get_running_loop(), world.internet.traffic[node.address]
    begun, before, datagrams = loop.time(), traffic.sent_bytes, traffic.sent
    posted = asked = posts = done = requests = 0
    posting = asyncio.Semaphore(POSTS_AT_ONCE)

    async def post(contact: Contact, batches: list[bytes]) -> None:
        nonlocal posted, posts
        async with posting:
            for batch in batches:
                await asyncio.sleep(HTTPS_SECONDS)
                posted, posts = posted + len(batch) + HTTPS_BYTES, posts + 1
                holder = world.at(contact.https)
                if holder is not None:
                    await accept(holder.server, parse_batch(batch), node.address.ip)

    async def sweep_lane(lane: list[Subject]) -> None:
        nonlocal requests, asked
        while lane:
            served = await find_groups(node.server, lane)
            expires = int(world.clock()) + LIFETIME_SECONDS
            wanted = encode_groups(node.server, served.groups, [node.https], expires)
            await asyncio.gather(*(post(*each) for each in wanted.items()))
            lane = lane[len(served.subjects) :]
            requests += served.requests + sum(map(len, wanted.values()))
            asked += served.requests

    while done < len(chunks):
        started, requests = loop.time(), 0
        lanes = [
            chunks[done + at * LANE_CHUNKS : done + (at + 1) * LANE_CHUNKS] for at in range(LANES)
        ]
        await asyncio.gather(*map(sweep_lane, lanes))
        done += LANES * LANE_CHUNKS
        await asyncio.sleep(max(0.0, started + requests / REQUESTS_A_SECOND - loop.time()))
    datagrams = traffic.sent - datagrams
    sent = traffic.sent_bytes - before + datagrams * HEADER_BYTES + posted
    return Cost(loop.time() - begun, sent, asked, posts)


async def share_found(world: World, sweeper: Node, chunks: list[Subject], tries: int) -> float:
    """Of random chunks, looked for by random others."""
    others = [node for node in world.members() if node is not sweeper]
    found = 0
    for subject in world.random.sample(chunks, tries):
        found += bool(await search(world, world.random.choice(others), subject))
    return found / tries


def cell(nodes: int, chunks: int, seed: int, lookups: int = LOOKED_FOR) -> tuple[Cost, float]:
    """What a sweep of so many chunks takes among so many nodes, and the share found after it."""
    world = World(seed)

    async def measured() -> tuple[Cost, float]:
        await world.grow(nodes)
        sweeper, made = world.random.choice(world.members()), some_chunks(chunks)
        cost = await sweep(world, sweeper, made)
        return cost, await share_found(world, sweeper, made, min(lookups, chunks))

    with world:
        return world.run(measured())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    cost, found = cell(args.nodes, args.chunks, args.seed)
    print(f"  {cost.asked} requests of lookups, {cost.posts} batches", flush=True)
    figures, name = Figures(), f"{args.chunks:,} chunk ids among {args.nodes:,} nodes"
    bar = BARS.get(args.nodes, max(BARS.values())) * args.chunks / 100_000
    figures.at_most(f"{name}: virtual time", cost.seconds, bar, "s")
    figures.at_most(f"{name}: sent", cost.sent / 1e6, BAR_BYTES / 1e6 * args.chunks / 1e5, "MB")
    figures.at_least(f"{name}: a random one found", found, BAR_FOUND, "")
    figures.end()


if __name__ == "__main__":
    main()
