"""Records out of the overlay and into it, on the asyncio side: every holder read, every copy made.

Which nodes those are `finding` knows; what does not go by datagram is left to `overlay`,
which has HTTPS.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.content.metainfo import UntimelyError
from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.wire import Get, Outcome, Store
from p2pfs.dht.records import verified_record
from p2pfs.dht.recordstore import RecordStoreError, is_full
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from p2pfs.dht.kad.contacts import Contact
    from p2pfs.dht.kad.server import Server
    from p2pfs.dht.kad.wire import Reply, Request
    from p2pfs.dht.records import Record
    from p2pfs.dht.subjects import Subject

_LOG = logging.getLogger(__name__)

# Under what the store files the node's own records.
_OWN_IP = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Holding:
    """What one holder answered: verified records, and how many it could not send in a datagram."""

    holder: Contact | None  # None: this node itself
    records: tuple[Record, ...]
    more: int

    @property
    def count(self) -> int:
        return len(self.records) + self.more


@dataclass(frozen=True, slots=True)
class Placement:
    """How many other nodes hold a record now, and which want theirs by HTTPS, in bulk.

    `is_full`: so most of them say that the key is.
    """

    subject: Subject
    value: bytes
    copies: int
    to_post: tuple[Contact, ...]
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """How many nodes were found, and whether most where it belongs say that the key is full."""

    nodes: int
    is_full: bool


async def gather(server: Server, subject: Subject, found: Callable[[Holding], None]) -> Heard:
    """Every holder's records of a subject, as they come."""
    counts: dict[Contact, int] = {}

    async def read(contact: Contact) -> None:
        holding = await _read(server, subject, contact)
        if holding is None:
            return
        counts[contact] = holding.count
        if holding.count:
            found(holding)

    found(Holding(None, _own(server, subject), 0))
    async with asyncio.TaskGroup() as reading:
        asked = await server.finder.holders(
            subject.key, server.settings.k, lambda contact: reading.create_task(read(contact))
        )
    # Nodes farther off were not given all that there is.  Who has nothing votes too: else a liar
    # alone would make every reader of a rare tag look up all its shards.  In a region in which ids
    # were made for the key, as many may be made as are asked beyond the usual k.
    copies = subject.rules.copies
    voters = asked[: copies + max(0, len(asked) - server.settings.k)]
    votes = [is_full(subject, counts[each]) for each in voters if each in counts]
    return Heard(len(asked), _most(votes, copies))


async def place_all(
    server: Server, subjects: Sequence[Subject], make: Callable[[], bytes | None]
) -> list[Placement]:
    """Store one value under each subject, at as many nodes as the subject's rules say."""

    async def one(subject: Subject) -> Placement:
        async with server.pace.turn():
            return await _place(server, subject, make)

    tasks = [asyncio.create_task(one(subject)) for subject in subjects]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def accept(
    server: Server, records: Sequence[tuple[Subject, bytes]], source_ip: str
) -> list[bool]:
    """Take in a batch that came over HTTPS; of each record whether it is held after it."""
    held: list[bool] = []
    for subject, value in records:
        try:
            held.append(server.desk.take_checked(subject, value, source_ip).is_held)
        except MalformedError:
            held.append(False)
        await asyncio.sleep(0)  # each costs a signature's check: datagrams go in between
    return held


async def _place(server: Server, subject: Subject, make: Callable[[], bytes | None]) -> Placement:
    """`make` is asked after the lookup, which may have taught this node its own addresses."""
    copies = subject.rules.copies
    targets = server.finder.regions.closest(subject.key, copies, server.monotonic())
    if not targets:
        targets = await server.finder.holders(subject.key, copies)
    value = make()
    if value is None:
        return Placement(subject, b"", 0, ())
    _keep_own(server, subject, value, targets)
    replies = await asyncio.gather(
        *(_store(server, contact, subject, value) for contact in targets)
    )
    for contact, reply in zip(targets, replies, strict=True):
        if reply is None:
            server.finder.regions.forget(contact)
    said = [reply for reply in replies if reply is not None]
    busy = [
        contact
        for contact, reply in zip(targets, replies, strict=True)
        if reply is not None and reply.outcome is Outcome.BUSY
    ]
    return Placement(
        subject,
        value,
        copies=sum(reply.outcome is not None and reply.outcome.is_held for reply in said),
        to_post=tuple(busy),
        is_full=_most(
            [reply.outcome is Outcome.FULL or is_full(subject, reply.count or 0) for reply in said],
            copies,
        ),
    )


def _own(server: Server, subject: Subject) -> tuple[Record, ...]:
    """What this node holds itself, if its disk lets it."""
    try:
        return tuple(server.settings.records.rows(subject.key, server.now()))
    except RecordStoreError as error:
        _LOG.warning("what is stored here is left out of a search: %s", error)
        return ()


def _most(votes: Sequence[bool], honest: int) -> bool:
    """Whether more than half say yes, or more than half of `honest`, if more than these vote.

    So who makes ids for a key cannot outvote those who say yes.
    """
    return sum(votes) * 2 > min(len(votes), honest)


async def _read(server: Server, subject: Subject, contact: Contact) -> Holding | None:
    """What fits a datagram; None of a holder that is silent, or answers with a wrong record."""
    try:
        reply = await _ask_twice(server, contact, Get(key=subject.key))
        records = tuple(_timely(server, subject, reply.values or ()))
    except (SilentError, MalformedError):
        return None
    return Holding(contact, records, reply.more)


def _timely(server: Server, subject: Subject, values: Iterable[bytes]) -> Iterator[Record]:
    """Without those that have expired by this node's clock, and not yet by the holder's."""
    for value in values:
        with suppress(UntimelyError):
            yield verified_record(subject, value, server.settings.network, server.now())


async def _store(server: Server, contact: Contact, subject: Subject, value: bytes) -> Reply | None:
    """What the contact says became of it; None if it says nothing."""
    request = Store(subject=subject.encode(), value=value)
    try:
        return await _ask_twice(server, contact, request)
    except (SilentError, MalformedError):
        return None


async def _ask_twice(server: Server, contact: Contact, request: Request) -> Reply:
    """It has just answered: one datagram in a hundred is lost on a bad link, two in a row rarely.

    Raises SilentError, MalformedError.
    """
    try:
        return await server.asker.ask(contact.endpoint, request)
    except SilentError:
        return await server.asker.ask(contact.endpoint, request)


def _keep_own(server: Server, subject: Subject, value: bytes, targets: Sequence[Contact]) -> None:
    """Keep a copy here too, if this node is as close as those that get one."""
    own = distance(server.own_id, subject.key)
    farthest = max((distance(each.node_id, subject.key) for each in targets), default=0)
    if len(targets) < subject.rules.copies or own < farthest:
        record = verified_record(subject, value, server.settings.network, server.now())
        server.settings.records.put(record, _OWN_IP, server.now())
