"""Publishing and searching in a simulated network: what `KadOverlay` does, without trio and TLS.

The lookups, datagrams and stores are the real ones, and wait like those until the node has joined;
pages and batches that go over HTTPS are handed from node to node after two round trips.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from p2pfs.dht.kad.collecting import HOLDER_SECONDS, NEXT_HOLDER_SECONDS, Told
from p2pfs.dht.kad.exchange import accept, gather, place_all
from p2pfs.dht.recordpages import (
    MAX_PAGE_VALUE_BYTES,
    encode_batches,
    encode_page,
    parse_batch,
    parse_known,
)
from p2pfs.dht.records import create_provider_record
from p2pfs.dht.records import verified_record as verified
from p2pfs.dht.recordstore import first_page
from p2pfs.dht.subjects import parse_subject, provider_subject
from p2pfs.errors import UnreachableError
from tests.sim.world import seldom_collecting

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.contacts import Contact
    from p2pfs.dht.kad.exchange import Holding
    from p2pfs.dht.subjects import Subject
    from p2pfs.identity import Identity
    from tests.sim.world import Node, World

R = TypeVar("R")

# TLS's handshake, and the request.
_HTTPS_SECONDS = 0.1
_SILENT_SECONDS = 5.0
_LIFETIME_SECONDS = 86_400


def some_subject(number: int) -> Subject:
    """The providers of a made-up content."""
    return provider_subject(b"\x12\x20" + hashlib.sha256(b"content %d" % number).digest())


def provider_record(world: World, identity: Identity, at: Endpoint, subject: Subject) -> bytes:
    """The signed word of who is there that it has the content, for a day."""
    multihash = subject.parts[0]
    assert isinstance(multihash, bytes)
    expires = int(world.clock()) + _LIFETIME_SECONDS
    key = identity.private_key
    return create_provider_record([multihash], [at], expires, key, world.network).encoded


def stock(world: World, bytes_a_node: int, beginning: int) -> None:
    """Fill the stores with records where they belong, numbered from `beginning`, without a word."""
    left, number = bytes_a_node * len(world.nodes), beginning
    with seldom_collecting():
        while left > 0:
            left -= _put_everywhere(world, some_subject(number))
            number += 1


def _put_everywhere(world: World, subject: Subject) -> int:
    """One record into the stores where it belongs; how many bytes they are."""
    now, publisher = int(world.clock()), world.random.choice(world.nodes)
    value = provider_record(world, publisher.identity, publisher.https, subject)
    record = verified(subject, value, world.network, now)
    holders = world.closest(subject.key, subject.rules.copies)
    for node in holders:
        node.store.put(record, publisher.address.ip, now)
    return len(holders) * len(record.value)


async def publish(world: World, node: Node, subject: Subject) -> int:
    """Announce one content; how many others say that they hold the record."""
    await node.membership.wait_settled()
    value = provider_record(world, node.identity, node.https, subject)
    placements = await place_all(node.server, [subject], lambda: value)
    batch = encode_batches([(subject, value)])[0]
    posted = await asyncio.gather(
        *(_post(world, node, contact, batch) for each in placements for contact in each.to_post)
    )
    return sum(each.copies for each in placements) + sum(posted)


async def search(world: World, node: Node, subject: Subject) -> set[bytes]:
    """The right values that any holder sends, by datagram or in pages; `Collection`, in asyncio."""
    found: set[bytes] = set()

    def read(value: bytes, _told_by: str | None) -> bytes:
        return verified(subject, value, world.network, int(world.clock())).value

    told = Told(subject, read, found.add)
    waiting: asyncio.Queue[Contact | None] = asyncio.Queue()

    def take(holding: Holding) -> None:
        holder = told.take(holding)
        if holder is not None:
            waiting.put_nowait(holder)

    await node.membership.wait_settled()
    async with asyncio.TaskGroup() as reading:
        reading.create_task(_read_in_turn(world, told, waiting))
        await gather(node.server, subject, take)
        waiting.put_nowait(None)
    return found


async def _read_in_turn(
    world: World, told: Told[bytes], holders: asyncio.Queue[Contact | None]
) -> None:
    """Until None comes."""
    async with asyncio.TaskGroup() as reading:
        while (holder := await holders.get()) is not None:
            is_read = reading.create_task(_read_whole(world, told, holder))
            await asyncio.wait({is_read}, timeout=NEXT_HOLDER_SECONDS)


async def _read_whole(world: World, told: Told[bytes], holder: Contact) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(HOLDER_SECONDS):
            await told.read_pages(holder, partial(_fetch_page, world), _at_once)


async def _at_once(call: Callable[[], R]) -> R:
    return call()


async def _fetch_page(
    world: World, _key: bytes, holder: Endpoint, subject: bytes, cursor: bytes, known: bytes
) -> bytes:
    """A page of a node's records, as `peers.pages` makes it; raises UnreachableError."""
    node = await _connected(world, holder)
    if node.page is not None:
        return node.page(subject, cursor)
    digests, now = parse_known(known), int(world.clock())
    rows = node.store.rows(parse_subject(subject).key, now)
    unknown = (row for row in rows if row.slot > cursor and row.digest not in digests)
    page = first_page(unknown, MAX_PAGE_VALUE_BYTES)
    return encode_page([record.value for record in page.records], page.next)


async def _post(world: World, node: Node, holder: Contact, batch: bytes) -> int:
    """How many of its records the holder keeps."""
    try:
        held_by = await _connected(world, holder.https)
    except UnreachableError:
        return 0
    return sum(await accept(held_by.server, parse_batch(batch), node.address.ip))


async def _connected(world: World, https: Endpoint) -> Node:
    node = world.at(https)
    if node is None:
        await asyncio.sleep(_SILENT_SECONDS)
        raise UnreachableError(f"nobody at {https}")
    await asyncio.sleep(_HTTPS_SECONDS + node.dawdles)
    return node
