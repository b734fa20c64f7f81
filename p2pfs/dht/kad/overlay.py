"""The kademlia overlay as everything above sees it: `Overlay`, in trio.

What happens inside the overlay's own thread is `server`; here its answers are joined with what
comes over HTTPS, by callables that `node` hands in.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from p2pfs.concurrency import all_of
from p2pfs.dht.kad.collecting import Collection
from p2pfs.dht.kad.exchange import accept, gather, place_all
from p2pfs.dht.kad.island import open_island
from p2pfs.dht.kad.membership import Membership
from p2pfs.dht.kad.server import Server
from p2pfs.dht.kad.settings import Settings
from p2pfs.dht.kad.sockets import Sockets
from p2pfs.dht.kad.tending import Tending
from p2pfs.dht.overlay import Provider
from p2pfs.dht.recordpages import encode_batches, parse_batch
from p2pfs.dht.records import (
    MAX_PROVIDER_ADDRESSES,
    create_provider_record,
    provider_subject,
    subjects_of,
    tag_subject,
    verified_meta,
    verified_provider,
)
from p2pfs.errors import NoPeersError, P2pfsError

T = TypeVar("T")

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from typing import TypeAlias

    from p2pfs.addresses import Endpoint, Neighbourhood
    from p2pfs.content.cid import Cid
    from p2pfs.content.metainfo import MetaInfo
    from p2pfs.dht.kad.collecting import FetchPage, Read
    from p2pfs.dht.kad.contacts import Contact, ContactSnapshot
    from p2pfs.dht.kad.exchange import Holding, Placement
    from p2pfs.dht.kad.island import Island
    from p2pfs.dht.records import Subject
    from p2pfs.dht.recordstore import RecordStore
    from p2pfs.identity import Identity
    from p2pfs.network import Network

    # A batch over HTTPS: public key, address, batch; how many records were kept.
    PostRecords: TypeAlias = Callable[[bytes, Endpoint, bytes], Awaitable[int]]

_LOG = logging.getLogger(__name__)


class KadOverlay:
    """The node's place in the overlay; made by `open_overlay`."""

    def __init__(
        self,
        island: Island,
        server: Server,
        membership: Membership,
        fetch_page: FetchPage,
        post_records: PostRecords,
    ) -> None:
        self._island = island
        self._server = server
        self._membership = membership
        self._fetch_page = fetch_page
        self._post_records = post_records
        self._settings = server.settings
        self.tending = Tending(island, server, membership)

    async def announce(self, cid: Cid, expires: int) -> int:
        """See `Overlay`; raises MalformedError for an identity CID, which needs no provider."""
        subject = provider_subject(cid.multihash)
        settings = self._settings

        def sign() -> bytes | None:
            addresses = self._server.own_addresses()[:MAX_PROVIDER_ADDRESSES]
            if not addresses:  # nobody has seen this node yet
                return None
            key = settings.identity.private_key
            record = create_provider_record(
                [cid.multihash], addresses, expires, key, settings.network
            )
            return record.encoded

        return await self._place([subject], sign)

    async def publish(self, meta: MetaInfo) -> int:
        """See `Overlay`."""
        return await self._place(subjects_of(meta), lambda: meta.encoded)

    async def providers(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        """See `Overlay`; of a peer's addresses those are left out that its teller may not name."""
        subject = provider_subject(cid.multihash)

        def read(value: bytes, told_by: str | None) -> Provider | None:
            record = verified_provider(subject, value, self._settings.network, self._now())
            addresses = self._counting(record.addresses, told_by)
            if not addresses or record.publisher == self._server.own_key:
                return None
            return Provider(record.publisher, addresses)

        await self._collect(subject, read, found)

    async def search(self, tag: str, found: Callable[[MetaInfo], None]) -> None:
        """See `Overlay`; of a publisher's addresses those are left out as in `providers`."""
        subject = tag_subject(tag)

        def read(value: bytes, told_by: str | None) -> MetaInfo:
            meta = verified_meta(subject, value, self._settings.network, self._now())
            return dataclasses.replace(meta, at=self._counting(meta.at, told_by))

        await self._collect(subject, read, found)

    async def accept(self, batch: bytes, source_ip: str) -> int:
        """Records that a peer POSTs, every check made but those of tokens and rates; how many stay.

        Raises MalformedError for a batch that cannot be read; a wrong record is not counted.
        """
        records = parse_batch(batch)
        return await self._island.run(partial(accept, self._server, records, source_ip))

    async def add_peer(self, address: Endpoint) -> None:
        """Knock at an address until it answers, as if it had been named at the start."""

        async def add() -> None:
            self._membership.add_peer(address)

        await self._island.run(add)

    @property
    def public_key(self) -> bytes:
        """The own key."""
        return self._server.own_key

    @property
    def is_server(self) -> bool:
        """Whether others list this node: strangers reach it, or it has neighbours; never waits."""
        return self._server.is_server_snapshot

    async def look_at(self, address: Endpoint) -> None:
        """Knock at an address where another node may be, as LAN discovery finds them."""

        async def look() -> None:
            self._membership.look_at(address)

        await self._island.run(look)

    def contacts(self) -> tuple[ContactSnapshot, ...]:
        """The contacts as they are now; never waits."""
        return self._server.contacts_snapshot

    def observed(self) -> tuple[Endpoint, ...]:
        """The UDP addresses at which peers see this node, the best attested first; never waits."""
        return self._server.observed_snapshot

    def own_addresses(self) -> tuple[Endpoint, ...]:
        """Where others may reach this node by HTTPS, the best attested first; never waits."""
        return self._server.own_addresses()

    async def wait_settled(self) -> None:
        """Until one of those known at the start has answered, or none has (a second or two)."""
        await self._island.run(self._membership.wait_settled)

    async def _place(self, subjects: Sequence[Subject], make: Callable[[], bytes | None]) -> int:
        async def place() -> list[Placement]:
            await self._membership.wait_settled()
            return await place_all(self._server, subjects, make)

        placements = await self._island.run(place)
        posted = await self._post(placements)
        return min(
            (placement.copies + posted.get(placement.subject, 0) for placement in placements),
            default=0,
        )

    async def _post(self, placements: Sequence[Placement]) -> dict[Subject, int]:
        """To nodes that take no more datagrams all goes in one POST each; the copies it made."""
        wanted: dict[Contact, list[tuple[Subject, bytes]]] = {}
        for placement in placements:
            for contact in placement.to_post:
                wanted.setdefault(contact, []).append((placement.subject, placement.value))
        copies: dict[Subject, int] = {}

        async def post(contact: Contact, records: list[tuple[Subject, bytes]]) -> None:
            try:
                for batch in encode_batches(records):
                    kept = await self._post_records(contact.public_key, contact.https, batch)
                    if kept < len(parse_batch(batch)):
                        return
            except P2pfsError as error:
                _LOG.debug("%s took no records over HTTPS: %s", contact.https, error)
                return
            for subject, _ in records:
                copies[subject] = copies.get(subject, 0) + 1

        await all_of(partial(post, contact, records) for contact, records in wanted.items())
        return copies

    async def _collect(self, subject: Subject, read: Read[T], found: Callable[[T], None]) -> None:
        collection = Collection(subject, read, found, self._fetch_page)
        if not await collection.run(partial(self._gather, subject)):
            raise NoPeersError("no node of the network could be asked")

    async def _gather(self, subject: Subject, tell: Callable[[Holding], None]) -> int:
        async def over_there() -> int:
            await self._membership.wait_settled()
            return await gather(self._server, subject, partial(self._island.tell, tell))

        return await self._island.run(over_there)

    def _counting(self, addresses: Sequence[Endpoint], told_by: str | None) -> tuple[Endpoint, ...]:
        counts = self._settings.neighbourhood.counts
        return tuple(address for address in addresses if counts(address.ip, told_by or address.ip))

    def _now(self) -> int:
        return int(self._settings.clock())


@asynccontextmanager
async def open_overlay(  # noqa: PLR0913 by keyword, from node.py alone
    *,
    identity: Identity,
    network: Network,
    neighbourhood: Neighbourhood,
    sockets: Sequence[socket.socket],
    https_port: int,
    store: RecordStore,
    fetch_page: FetchPage,
    post_records: PostRecords,
    peers: Sequence[Endpoint] = (),
    clock: Callable[[], float] = time.time,
    server: bool | None = None,
) -> AsyncIterator[KadOverlay]:
    """Join over bound UDP sockets, one for each listen address, and close them at the end.

    Returns at once: joining goes on by itself, and operations wait for its first attempt.
    `server`: as in `Settings`.
    """
    settings = Settings(
        identity,
        network,
        neighbourhood,
        https_port,
        store,
        tuple(peers),
        clock,
        server=server,
    )
    own = Server(settings, Sockets(sockets))
    async with open_island() as island:
        membership, living = await island.run(partial(begin, own))
        try:
            yield KadOverlay(island, own, membership, fetch_page, post_records)
        finally:
            with trio.CancelScope(shield=True):
                await island.run(partial(end, own, living))


async def begin(server: Server) -> tuple[Membership, asyncio.Task[None]]:
    """On the island: open the sockets and start the loops."""
    membership = Membership(server, server.settings.peers, server.settings.records.contacts())
    server.greet = membership.greet
    server.may_knock_again = membership.may_knock_again
    await server.open()
    return membership, asyncio.create_task(membership.run())


async def end(server: Server, living: asyncio.Task[None]) -> None:
    """On the island: end the loops, then close the sockets."""
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
    server.stop()
