"""What all holders say of a subject, joined in trio: datagrams from the island, pages over HTTPS.

Which holders there are is `exchange`'s lookup; what a value means, the caller's `read`.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from p2pfs.concurrency import deadline, open_nursery
from p2pfs.content.metainfo import UntimelyError
from p2pfs.dht.kad.contacts import Contact
from p2pfs.dht.kad.exchange import Heard, Holding
from p2pfs.dht.recordpages import MAX_KNOWN, parse_page
from p2pfs.dht.records import value_digest
from p2pfs.errors import MalformedError, P2pfsError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import TypeAlias

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.subjects import Subject

T = TypeVar("T")
R = TypeVar("R")

if TYPE_CHECKING:
    # A page of records over HTTPS: public key, address, encoded subject, cursor (b"" at first), and
    # the digests of what is known, which is left out.
    FetchPage: TypeAlias = Callable[[bytes, Endpoint, bytes, bytes, bytes], Awaitable[bytes]]
    # What a value says that the node at this IP told of (None: this node itself); None for what
    # is true but of no use; raises MalformedError.
    Read: TypeAlias = Callable[[bytes, str | None], T | None]
    # Has a call made where it holds nobody up, and gives back what it returns.
    Check: TypeAlias = Callable[[Callable[[], R]], Awaitable[R]]
    # Runs the lookup and tells it all holdings.
    Gather: TypeAlias = Callable[[Callable[[Holding], None]], Awaitable[Heard]]

_LOG = logging.getLogger(__name__)

# 1,000 meta-infos of 1 KiB are five pages of 240 KiB; a holder that never ends is cut off here.
_MOST_PAGES = 8
# Copies are much the same: one is read whole, of the others what it lacks.  So the next is asked
# when the one before has told all, or beside it if that dawdles.
NEXT_HOLDER_SECONDS = 0.5
# All pages of one take 10 s on a line of 1 Mbit/s; who waits for a listing waits for the slowest.
HOLDER_SECONDS = 30.0


class Told(Generic[T]):
    """What one search was told so far; hands on what is right, once, as it comes.

    It awaits only what it is handed, so it runs in any event loop.
    """

    def __init__(self, subject: Subject, read: Read[T], found: Callable[[T], None]) -> None:
        self._subject = subject
        self._read = read
        self._found = found
        self._seen: set[T] = set()
        self._digests: set[bytes] = set()

    def take(self, holding: Holding) -> Contact | None:
        """Hear what came by datagram; its holder, if he has more than that.

        It was verified over there, which is remembered and costs little.
        """
        told_by = None if holding.holder is None else holding.holder.endpoint.ip
        said, _ = self._heard((record.value for record in holding.records), told_by)
        self._hand_on(said)
        return holding.holder if holding.more else None

    async def read_pages(
        self, holder: Contact, fetch_page: FetchPage, check: Check[tuple[list[T], bool]]
    ) -> None:
        """Hear what a holder has in pages and is not known yet, as far as he is to be believed."""
        cursor, left = b"", self._subject.rules.rows_per_key
        known = b"".join(islice(self._digests, MAX_KNOWN))
        for _ in range(_MOST_PAGES):
            try:
                raw = await fetch_page(
                    holder.public_key, holder.https, self._subject.encode(), cursor, known
                )
                page = parse_page(raw)
            except P2pfsError as error:
                _LOG.debug("the records at %s cannot be read whole: %s", holder.https, error)
                return
            # No holder keeps more, however many a liar signs himself: he would fill the listing.
            values = page.values[:left]
            left -= len(values)
            # A page of 500 signatures takes 75 ms to check.
            said, honest = await check(partial(self._heard, values, holder.endpoint.ip))
            self._hand_on(said)
            if page.next is None or not honest or not left:
                return
            cursor = page.next

    def _heard(self, values: Iterable[bytes], told_by: str | None) -> tuple[list[T], bool]:
        """What the values say up to the first wrong one, and whether there was none.

        What has expired here, and not yet by the holder's clock, is not wrong.
        """
        said: list[T] = []
        for value in values:
            try:
                meant = self._read(value, told_by)
            except UntimelyError:
                meant = None
            except MalformedError:
                return said, False
            self._digests.add(value_digest(value))
            if meant is not None:
                said.append(meant)
        return said, True

    def _hand_on(self, said: Iterable[T]) -> None:
        for each in said:
            if each not in self._seen:
                self._seen.add(each)
                self._found(each)


class Collection(Generic[T]):
    """One search in trio."""

    def __init__(
        self,
        subject: Subject,
        read: Read[T],
        found: Callable[[T], None],
        fetch_page: FetchPage,
    ) -> None:
        self._told = Told(subject, read, found)
        self._fetch_page = fetch_page

    async def run(self, gather: Gather) -> Heard:
        """Until every holder was heard whole, or given up."""
        # Bounded: a lookup asks at most 120 nodes.
        send, receive = trio.open_memory_channel[Holding](math.inf)
        answered: list[Heard] = []

        def tell(holding: Holding) -> None:
            try:
                send.send_nowait(holding)
            except trio.BrokenResourceError:  # cancelled meanwhile, and nobody listens any more
                return

        async def ask() -> None:
            with send:
                answered.append(await gather(tell))

        waiting, next_holder = trio.open_memory_channel[Contact](math.inf)
        async with open_nursery() as nursery, receive:
            nursery.start_soon(ask)
            nursery.start_soon(self._read_in_turn, next_holder)
            with waiting:
                async for holding in receive:
                    holder = self._told.take(holding)
                    if holder is not None:
                        waiting.send_nowait(holder)
        return answered[0]

    async def _read_in_turn(self, holders: trio.MemoryReceiveChannel[Contact]) -> None:
        async with open_nursery() as nursery:
            async for holder in holders:
                is_read = trio.Event()
                nursery.start_soon(self._read_whole, holder, is_read)
                with trio.move_on_after(NEXT_HOLDER_SECONDS):
                    await is_read.wait()

    async def _read_whole(self, holder: Contact, is_read: trio.Event) -> None:
        try:
            with deadline(HOLDER_SECONDS, "reading all records"):
                await self._told.read_pages(holder, self._fetch_page, _in_thread)
        except TimedOutError as error:
            _LOG.debug("the records at %s cannot be read whole: %s", holder.https, error)
        finally:
            is_read.set()


async def _in_thread(call: Callable[[], R]) -> R:
    return await trio.to_thread.run_sync(call, abandon_on_cancel=True)
