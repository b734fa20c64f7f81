"""Filling the table: meeting those around this node, and somebody in every bucket.

When that is done is `membership`'s, how nodes are met `finding`'s.
"""

from __future__ import annotations

import asyncio
from itertools import chain, islice
from typing import TYPE_CHECKING

from p2pfs.dht.kad.buckets import BUCKETS
from p2pfs.network import NODE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.contacts import Hint
    from p2pfs.dht.kad.lookup import Lookup
    from p2pfs.dht.kad.server import Server

# Buckets that no lookup went through for an hour (the paper, section 2.3).
_STALE_SECONDS = 3_600.0
# Visited in a row, before the own neighbours are looked for again.
_MOST_VISITED = 20
# Of nodes that were named and not asked: more than a round among honest nodes hears of; liars could
# name ten times as many.  300 bytes each.
_MOST_HEARD = 4_096
# At once, as a lookup has under way; 192 an hour, and a node of 1,000 has some 130 contacts.
_MOST_QUIET = 32


async def refresh(server: Server, looked: Callable[[], None]) -> None:
    """Look for the own id and into old buckets, until there is none into which nobody has looked.

    Those met in the buckets know of neighbours that the first few did not.  `looked` is called
    after each look for the own id, however it ended; neighbours that were silent in it are asked
    again beside the visits.  In the end contacts are asked that were not heard of for as long.
    """
    finder = server.finder
    before = server.monotonic() - _STALE_SECONDS
    around: Lookup | None = None
    heard: dict[Hint, None] = {}
    while True:
        async with asyncio.TaskGroup() as asking_again:
            try:
                around = await finder.meet_neighbours(around, heard)
            finally:
                looked()
            for address in dict.fromkeys(each.endpoint for each in around.silent(around.k)):
                if server.table.at(address) is None:  # else `membership` asks again
                    asking_again.create_task(_ask_again(server, address))
            stale = server.table.stale_buckets(before)[:_MOST_VISITED]
            if not stale or not server.table.answering():  # cut off: nobody would be asked
                break
            heard = _latest(around, heard)
            for bucket in stale:
                key = random_id(server.own_id, bucket, server.settings.random)
                heard = _latest(await finder.visit(key, heard), heard)
    if server.table.answering():
        async with asyncio.TaskGroup() as asking:
            for contact in server.table.quiet(before)[:_MOST_QUIET]:
                asking.create_task(server.verify(contact.endpoint))


def _latest(lookup: Lookup, heard: dict[Hint, None]) -> dict[Hint, None]:
    """Whom it has heard of and not asked, and those of before."""
    return dict.fromkeys(islice(chain(lookup.unasked(), heard), _MOST_HEARD))


async def _ask_again(server: Server, address: Endpoint) -> None:
    """One that is slow, or lost a datagram; the second time it is waited for twice as long."""
    if not await server.verify(address):
        await server.verify(address)


def random_id(own_id: bytes, bucket: int, random: Random) -> bytes:
    """An id that falls into a bucket: the own one with that bit flipped, random after it."""
    below = BUCKETS - 1 - bucket
    flipped = int.from_bytes(own_id, "big") ^ (1 << below)
    noise = random.getrandbits(below) if below else 0
    return (flipped ^ noise).to_bytes(NODE_ID_BYTES, "big")
