"""Publishing and searching in a simulated network: what `KadOverlay` does, without trio and TLS.

The lookups, datagrams and stores are the real ones, and wait like those until the node has joined;
pages and batches that go over HTTPS are handed from node to node after two round trips.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2pfs.dht.kad.exchange import accept, gather, place_all
from p2pfs.dht.recordpages import (
    MAX_PAGE_VALUE_BYTES,
    encode_batches,
    encode_page,
    parse_batch,
    parse_page,
)
from p2pfs.dht.records import create_provider_record
from p2pfs.dht.records import verified_record as verified
from p2pfs.dht.subjects import parse_subject, provider_subject
from p2pfs.errors import MalformedError, UnreachableError
from tests.sim.world import seldom_collecting

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.contacts import Contact
    from p2pfs.dht.kad.exchange import Holding
    from p2pfs.dht.records import Record
    from p2pfs.dht.subjects import Subject
    from tests.sim.world import Node, World

# TLS's handshake, and the request.
_HTTPS_SECONDS = 0.1
_SILENT_SECONDS = 5.0
# As in `collecting`.
_MOST_PAGES = 8
_LIFETIME_SECONDS = 86_400


def some_subject(number: int) -> Subject:
    """The providers of a made-up content."""
    return provider_subject(b"\x12\x20" + hashlib.sha256(b"content %d" % number).digest())


def provider_record(world: World, node: Node, subject: Subject) -> bytes:
    """The node's signed word that it has the content, for a day."""
    multihash = subject.parts[0]
    assert isinstance(multihash, bytes)
    expires = int(world.clock()) + _LIFETIME_SECONDS
    key = node.identity.private_key
    return create_provider_record([multihash], [node.https], expires, key, world.network).encoded


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
    record = verified(subject, provider_record(world, publisher, subject), world.network, now)
    holders = world.closest(subject.key, subject.rules.copies)
    for node in holders:
        node.store.put(record, publisher.address.ip, now)
    return len(holders) * len(record.value)


async def publish(world: World, node: Node, subject: Subject) -> int:
    """Announce one content; how many others say that they hold the record."""
    await node.membership.wait_settled()
    value = provider_record(world, node, subject)
    placements = await place_all(node.server, [subject], lambda: value)
    batch = encode_batches([(subject, value)])[0]
    posted = await asyncio.gather(
        *(_post(world, node, contact, batch) for each in placements for contact in each.to_post)
    )
    return sum(each.copies for each in placements) + sum(posted)


async def search(world: World, node: Node, subject: Subject) -> set[bytes]:
    """The right values that any holder sends, by datagram or in pages."""
    found: set[bytes] = set()
    reading: list[asyncio.Task[None]] = []

    def take(holding: Holding) -> None:
        found.update(record.value for record in holding.records)
        if holding.more and holding.holder is not None:
            reader = _read_pages(world, holding.holder, subject, found)
            reading.append(asyncio.create_task(reader))

    await node.membership.wait_settled()
    await gather(node.server, subject, take)
    await asyncio.gather(*reading)
    return found


async def _read_pages(world: World, holder: Contact, subject: Subject, found: set[bytes]) -> None:
    cursor: bytes | None = b""
    try:
        for _ in range(_MOST_PAGES):
            if cursor is None:
                return
            page = parse_page(await _fetch_page(world, holder.https, subject.encode(), cursor))
            found.update(record.value for record in _right(world, subject, page.values))
            cursor = page.next
    except (UnreachableError, MalformedError):
        return


def _right(world: World, subject: Subject, values: Sequence[bytes]) -> list[Record]:
    now = int(world.clock())
    return [verified(subject, value, world.network, now) for value in values]


async def _fetch_page(world: World, holder: Endpoint, subject: bytes, cursor: bytes) -> bytes:
    """A page of a node's records; raises UnreachableError."""
    node = await _connected(world, holder)
    if node.page is not None:
        return node.page(subject, cursor)
    now, key = int(world.clock()), parse_subject(subject).key
    page = node.store.page(key, cursor, MAX_PAGE_VALUE_BYTES, now)
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
    await asyncio.sleep(_HTTPS_SECONDS)
    return node
