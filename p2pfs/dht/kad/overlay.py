"""The kademlia overlay as everything above sees it: `Overlay`, in trio.

It is put together by `opening`.  What happens inside the overlay's own thread is `server`; its
answers are joined with what comes over HTTPS in `traffic`.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.dht.kad.exchange import accept
from p2pfs.dht.kad.hottags import read_shards
from p2pfs.dht.kad.sweeping import Swept, encode_groups, find_groups
from p2pfs.dht.kad.tending import Tending
from p2pfs.dht.overlay import Provider
from p2pfs.dht.recordpages import parse_batch
from p2pfs.dht.records import (
    MAX_PROVIDER_ADDRESSES,
    create_provider_record,
    subjects_of,
    verified_meta,
    verified_provider,
)
from p2pfs.dht.subjects import TAG, provider_subject, shard_subject, tag_subject
from p2pfs.errors import NoPeersError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from p2pfs.addresses import Endpoint
    from p2pfs.content.cid import Cid
    from p2pfs.content.metainfo import MetaInfo
    from p2pfs.dht.kad.contacts import ContactSnapshot
    from p2pfs.dht.kad.exchange import Placement
    from p2pfs.dht.kad.island import Island
    from p2pfs.dht.kad.membership import Membership
    from p2pfs.dht.kad.server import Server
    from p2pfs.dht.kad.sweeping import Served
    from p2pfs.dht.kad.traffic import Traffic
    from p2pfs.dht.subjects import Subject


class KadOverlay:
    """The node's place in the overlay."""

    def __init__(
        self,
        island: Island,
        server: Server,
        membership: Membership,
        traffic: Traffic,
        most_entries: int,
    ) -> None:
        self._island = island
        self._server = server
        self._membership = membership
        self._traffic = traffic
        self._most_entries = most_entries
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

        return _fewest(await self._traffic.place([subject], sign))

    async def publish(self, meta: MetaInfo) -> int:
        """See `Overlay`; of a tag that is full, both levels count."""
        placements = await self._traffic.place(subjects_of(meta), lambda: meta.encoded)
        shards = {
            shard_subject(each.subject, meta.cid.multihash): each.subject
            for each in placements
            if each.is_full and each.subject.kind == TAG
        }
        second = await self._traffic.place(list(shards), lambda: meta.encoded) if shards else []
        more = {shards[each.subject]: each.copies for each in second}
        return _fewest(
            dataclasses.replace(each, copies=each.copies + more.get(each.subject, 0))
            for each in placements
        )

    async def sweep(self, multihashes: Sequence[bytes], expires: int) -> Swept:
        """Say that we have the first of these contents, as many as a few lookups serve.

        They are in the order of their keys, and have eight copies each, one record for up to
        sixteen.  Raises NoPeersError if nobody could be asked.
        """
        subjects = [provider_subject(multihash) for multihash in multihashes]

        async def look() -> Served:
            await self._membership.wait_settled()
            return await find_groups(self._server, subjects)

        served = await self._island.run(look)
        groups, offered = served.groups, served.subjects
        addresses = self._server.own_addresses()
        if not groups or not addresses:
            raise NoPeersError("no node of the network could be asked")
        batches = await trio.to_thread.run_sync(
            encode_groups, self._server, groups, addresses, expires
        )
        copies = await self._traffic.post(batches)
        pairs = zip(multihashes, offered, strict=False)  # of the first of them
        refused = tuple(multihash for multihash, subject in pairs if subject not in copies)
        return Swept(len(offered), refused, served.requests + sum(map(len, batches.values())))

    async def providers(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        """See `Overlay`; of a peer's addresses those are left out that its teller may not name."""
        subject = provider_subject(cid.multihash)

        def read(value: bytes, told_by: str | None) -> Provider | None:
            record = verified_provider(subject, value, self._settings.network, self._now())
            addresses = self._counting(record.addresses, told_by)
            if not addresses or record.publisher == self._server.own_key:
                return None
            return Provider(record.publisher, addresses)

        await self._traffic.collect(subject, read, found)

    async def search(self, tag: str, found: Callable[[MetaInfo], None]) -> None:
        """See `Overlay`; of a publisher's addresses those are left out as in `providers`."""
        first, contents = tag_subject(tag), set[bytes]()

        def read(value: bytes, told_by: str | None, subject: Subject = first) -> MetaInfo:
            meta = verified_meta(subject, value, self._settings.network, self._now())
            return dataclasses.replace(meta, at=self._counting(meta.at, told_by))

        def counted(meta: MetaInfo) -> None:
            contents.add(meta.cid.multihash)
            found(meta)

        async def read_shard(shard: int) -> None:
            subject = tag_subject(tag, 1, shard)
            await self._traffic.collect(subject, partial(read, subject=subject), counted)

        if await self._traffic.collect(first, read, counted):
            enough = self._most_entries
            await read_shards(read_shard, lambda: len(contents) >= enough, self._settings.random)

    async def accept(self, batch: bytes, source_ip: str) -> list[bool]:
        """Records that a peer POSTs, every check made but those of tokens and rates; which stay.

        Raises MalformedError for a batch that cannot be read; a wrong record does not stay.
        """
        records = parse_batch(batch)
        return await self._island.run(partial(accept, self._server, records, source_ip))

    async def answer(self, body: bytes, source: Endpoint) -> bytes | None:
        """The reply to one request that a peer POSTs from an address; None: he asks too often.

        Raises MalformedError.
        """

        async def answer() -> bytes | None:
            return self._server.answer_connected(body, source)

        return await self._island.run(answer)

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
        return self._server.is_server

    @property
    def is_blocked(self) -> bool:
        """Whether nobody answers datagrams, so that requests go by HTTPS; never waits."""
        return self._server.is_blocked

    async def look_at(self, address: Endpoint) -> None:
        """Knock at an address where another node may be, as LAN discovery finds them."""

        async def look() -> None:
            self._membership.look_at(address)

        await self._island.run(look)

    def known(self) -> tuple[Endpoint, ...]:
        """Where the user, or the last run, says that nodes are; never waits."""
        return self._membership.known

    async def set_clock(self, adjust: Callable[[float], bool]) -> None:
        """Tell `adjust` how many seconds most peers' clocks show more than this node's.

        It says whether it has set the clock by that; then what they showed is forgotten.
        """

        async def compare() -> None:
            if adjust(self._server.peer_clocks.difference()):
                self._server.peer_clocks.forget()

        await self._island.run(compare)

    def clock(self) -> float:
        """UNIX seconds, as this node counts them; never waits."""
        return self._settings.clock()

    def contacts(self) -> tuple[ContactSnapshot, ...]:
        """The contacts as they are now; never waits."""
        return self._server.contacts()

    def ahead(self) -> float | None:
        """By how many seconds the clocks of others are ahead, their median; never waits."""
        return self._server.asker.clocks.ahead()

    def observed(self) -> tuple[Endpoint, ...]:
        """The UDP addresses at which peers see this node, the best attested first; never waits."""
        return self._server.observed.addresses()

    def own_addresses(self) -> tuple[Endpoint, ...]:
        """Where others may reach this node by HTTPS, the best attested first; never waits."""
        return self._server.own_addresses()

    async def wait_settled(self) -> None:
        """Until one of those known at the start has answered, or none has (a second or two)."""
        await self._island.run(self._membership.wait_settled)

    def _counting(self, addresses: Sequence[Endpoint], told_by: str | None) -> tuple[Endpoint, ...]:
        counts = self._settings.neighbourhood.counts
        return tuple(address for address in addresses if counts(address.ip, told_by or address.ip))

    def _now(self) -> int:
        return int(self._settings.clock())


def _fewest(placements: Iterable[Placement]) -> int:
    return min((each.copies for each in placements), default=0)
