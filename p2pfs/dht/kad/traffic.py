"""Records in and out of the overlay, in trio: datagrams from the island joined with HTTPS.

Which nodes hold what is `exchange`'s business, what is said in records that of `overlay`.
"""

from __future__ import annotations

import dataclasses
import logging
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from p2pfs.concurrency import all_of, deadline
from p2pfs.dht.kad.collecting import Collection
from p2pfs.dht.kad.exchange import gather, place_all
from p2pfs.dht.recordpages import encode_batches, parse_batch
from p2pfs.errors import NoPeersError, P2pfsError

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import TypeAlias

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.collecting import FetchPage, Read
    from p2pfs.dht.kad.contacts import Contact
    from p2pfs.dht.kad.exchange import Heard, Holding, Placement
    from p2pfs.dht.kad.island import Island
    from p2pfs.dht.kad.server import Server
    from p2pfs.dht.subjects import Subject

    # A batch over HTTPS: public key, address, batch; of each row whether it is held there now.
    PostRecords: TypeAlias = Callable[[bytes, Endpoint, bytes], Awaitable[Sequence[bool]]]

_LOG = logging.getLogger(__name__)

# To so many nodes; a sweep has batches for ten times as many, and reading goes by HTTPS as well.
POSTS_AT_ONCE = 16
# 16 batches of a tenth of a megabyte take 13 s on a line of 1 Mbit/s; who is slower than that holds
# up all others.
_POST_SECONDS = 30.0


class Traffic:
    """One node's; `wait_settled` runs on the island."""

    def __init__(
        self,
        island: Island,
        server: Server,
        wait_settled: Callable[[], Awaitable[None]],
        fetch_page: FetchPage,
        post_records: PostRecords,
    ) -> None:
        self._island = island
        self._server = server
        self._wait_settled = wait_settled
        self._fetch_page = fetch_page
        self._post_records = post_records
        self._posting = trio.CapacityLimiter(POSTS_AT_ONCE)

    async def place(
        self, subjects: Sequence[Subject], make: Callable[[], bytes | None]
    ) -> list[Placement]:
        """Store one value under each subject; copies made over HTTPS are counted too."""

        async def place() -> list[Placement]:
            await self._wait_settled()
            return await place_all(self._server, subjects, make)

        placements = await self._island.run(place)
        wanted: dict[Contact, list[tuple[Subject, bytes]]] = {}
        for placement in placements:  # nodes that take no more datagrams
            for contact in placement.to_post:
                wanted.setdefault(contact, []).append((placement.subject, placement.value))
        posted = await self.post({each: encode_batches(wanted[each]) for each in wanted})
        return [
            dataclasses.replace(each, copies=each.copies + posted.get(each.subject, 0))
            for each in placements
        ]

    async def post(self, wanted: Mapping[Contact, Sequence[bytes]]) -> dict[Subject, int]:
        """Each node's batches; the copies that were made."""
        copies: dict[Subject, int] = {}

        async def post(contact: Contact, batch: bytes) -> None:
            with deadline(_POST_SECONDS, "taking in a batch"):
                held = await self._post_records(contact.public_key, contact.https, batch)
            rows = zip(parse_batch(batch), held, strict=False)  # of no more than it says
            for subject in {subject for (subject, _), is_held in rows if is_held}:
                copies[subject] = copies.get(subject, 0) + 1

        async def post_all(contact: Contact, batches: Sequence[bytes]) -> None:
            async with self._posting:
                try:
                    for batch in batches:
                        await post(contact, batch)
                except P2pfsError as error:
                    _LOG.debug("%s took no records over HTTPS: %s", contact.https, error)

        await all_of(partial(post_all, contact, batches) for contact, batches in wanted.items())
        return copies

    async def collect(self, subject: Subject, read: Read[T], found: Callable[[T], None]) -> bool:
        """Hand on what all holders say; whether most of them say that the key is full.

        Raises NoPeersError.
        """
        collection = Collection(subject, read, found, self._fetch_page)
        heard = await collection.run(partial(self._gather, subject))
        if not heard.nodes:
            raise NoPeersError("no node of the network could be asked")
        return heard.is_full

    async def _gather(self, subject: Subject, tell: Callable[[Holding], None]) -> Heard:
        async def over_there() -> Heard:
            await self._wait_settled()
            return await gather(self._server, subject, partial(self._island.tell, tell))

        return await self._island.run(over_there)
