"""Repair by neighbours: fetching from those around this node the records that belong here too.

Nodes come and go; without it the copies of a record go with them.  A new server fetches what
belongs to it, and compares names again and again: the shorter neighbours live, the oftener.  Before
each comparison it asks who of them is still there: silence shows only to those who ask.

`pull` awaits only what it is handed, so it runs in any event loop: how names and records travel is
for `peers`, where they lie for the record store.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from p2pfs.content.metainfo import UntimelyError
from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.recordpages import MAX_NAMED, parse_named, parse_names
from p2pfs.dht.subjects import KEY_BYTES
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from p2pfs.dht.kad.contacts import Contact
    from p2pfs.dht.kad.server import Server

KEY_BITS = 8 * KEY_BYTES
# Who keeps what here: roots' provider records begin with 20 copies, and may shrink to these.
_COPIES = 8
# Of so many neighbours, every quarter of their life time.
_NEIGHBOURS = 3
_A_LIFE = 4
_LEAST_SECONDS, _MOST_SECONDS = 60.0, 3_600.0
# What is taken for granted of neighbours before any was watched: one departure, so lately that the
# second comparison comes as soon as any.  Where nobody leaves the third comes minutes later.
_PRIOR_SECONDS = _A_LIFE * _LEAST_SECONDS
# A neighbour that never ends is cut off: 1 M records are 122 pages.
_MOST_PAGES = 128
# After each record, whose check and writing take half a millisecond: a newcomer's first minute is
# not all repair, since just then somebody opens the mount and looks for something.
_GIVE_WAY_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Region:
    """All keys that share their first bits with a node's id."""

    near: bytes
    bits: int

    @property
    def first(self) -> bytes:
        return (self._head << self._tail).to_bytes(KEY_BYTES, "big")

    @property
    def last(self) -> bytes:
        return ((self._head + 1 << self._tail) - 1).to_bytes(KEY_BYTES, "big")

    @property
    def _tail(self) -> int:
        return KEY_BITS - self.bits

    @property
    def _head(self) -> int:
        return int.from_bytes(self.near, "big") >> self._tail


def region_of(own_id: bytes, closest: Sequence[Contact], k: int) -> Region:
    """Where this node may be among the k closest: as far as its own k-th contact, rounded up."""
    if len(closest) < k:
        return Region(own_id, 0)
    return Region(own_id, KEY_BITS - distance(closest[-1].node_id, own_id).bit_length())


def spread_out(own_id: bytes, closest: Sequence[Contact], random: Random) -> tuple[Contact, ...]:
    """Three of the closest contacts, one by chance from each part of the region, large ones first.

    Each bit in which contacts differ from the own id cuts off half of what is left of the region.
    What belongs here and lies in one half is held mostly in that half: the very closest contacts
    would be in the smallest parts, and know least of the rest.
    """
    parts: dict[int, list[Contact]] = {}
    for contact in closest:
        parts.setdefault(distance(contact.node_id, own_id).bit_length(), []).append(contact)
    chosen = [random.choice(parts[size]) for size in sorted(parts, reverse=True)[:_NEIGHBOURS]]
    others = [contact for contact in closest if contact not in chosen]
    missing = min(len(others), _NEIGHBOURS - len(chosen))
    return tuple(chosen + random.sample(others, missing))


class Lifetime:
    """How long neighbours stay, from how many of those watched have left; times are monotonic."""

    def __init__(self) -> None:
        self._watched: frozenset[bytes] = frozenset()
        self._since = 0.0
        self._seconds = _PRIOR_SECONDS
        self._departures = 1

    def watch(self, neighbours: frozenset[bytes], there: frozenset[bytes], now: float) -> None:
        """The keys of the neighbours now, and of all that answer: who does not, has left."""
        self._seconds += len(self._watched) * (now - self._since)
        self._departures += len(self._watched - there)
        self._watched, self._since = neighbours, now

    @property
    def seconds(self) -> float:
        """The mean; of who has not left, the time so far counts."""
        return self._seconds / self._departures

    @property
    def pause(self) -> float:
        """Until the next comparison."""
        return min(_MOST_SECONDS, max(_LEAST_SECONDS, self.seconds / _A_LIFE))


@dataclass(frozen=True, slots=True)
class Round:
    """With whom to compare what, and how long to wait after it."""

    neighbours: tuple[Contact, ...]
    region: Region
    pause: float


class Repair:
    """One node's part in it, on the island."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lifetime = Lifetime()

    async def next_round(self) -> Round:
        """What is to be compared now, once all neighbours were asked whether they are there."""
        table, own_id = self._server.table, self._server.own_id
        answers = await asyncio.gather(*map(self._is_there, table.closest(own_id)))
        closest = table.closest(own_id)
        if any(answers):  # else it is this node that is cut off
            there = table.closest(own_id, len(table))
            self._lifetime.watch(_keys_of(closest), _keys_of(there), self._server.monotonic())
        region = region_of(own_id, closest, table.k)
        chosen = spread_out(own_id, closest, self._server.settings.random)
        return Round(chosen, region, self._lifetime.pause)

    def missing(self, names: Sequence[bytes]) -> list[bytes]:
        """Those that belong here and are not here; raises RecordStoreError."""
        mine = [name for name in names if self._belongs(name[:KEY_BYTES])]
        return self._server.settings.records.absent(mine, self._server.now())

    async def take(self, encoded: bytes, teller: str) -> int:
        """How many of a neighbour's records are kept, of those that belong here.

        Raises MalformedError at the first wrong one; what has expired here, and not yet by his
        clock, is left out.
        """
        kept, desk = 0, self._server.desk
        for subject, value, network_ip in parse_named(encoded):
            if self._belongs(subject.key):
                with suppress(UntimelyError):
                    kept += desk.take_repaired(subject, value, network_ip, teller)
            await asyncio.sleep(_GIVE_WAY_SECONDS)
        return kept

    async def _is_there(self, contact: Contact) -> bool:
        """Whether a contact answers, which the table is told; one datagram may be lost."""
        address = contact.endpoint
        return await self._server.verify(address) or await self._server.verify(address)

    def _belongs(self, key: bytes) -> bool:
        """Whether this node is among the closest to a key, as far as it knows."""
        return self._server.table.closer(key) < _COPIES


def _keys_of(contacts: Sequence[Contact]) -> frozenset[bytes]:
    return frozenset(each.public_key for each in contacts)


class Neighbour(Protocol):
    """What `pull` asks of one, and what of the node itself."""

    async def names(self, region: Region, cursor: bytes) -> bytes:
        """A page of the names that the neighbour has in a region."""

    async def named(self, names: Sequence[bytes]) -> bytes:
        """The records of these names that the neighbour has, as many as fit."""

    async def missing(self, names: Sequence[bytes]) -> list[bytes]:
        """See `Repair.missing`."""

    async def take(self, encoded: bytes) -> int:
        """See `Repair.take`."""


async def pull(neighbour: Neighbour, region: Region) -> int:
    """Fetch what one neighbour has and this node lacks; how many records are kept.

    Raises MalformedError for a neighbour that sends nonsense, and what the neighbour's calls raise.
    """
    kept, cursor, first, last = 0, b"", region.first, region.last
    for _ in range(_MOST_PAGES):
        page = parse_names(await neighbour.names(region, cursor))
        if not all(first <= name[:KEY_BYTES] <= last for name in page.values):
            raise MalformedError("names that were not asked for")
        missing: list[bytes] = []
        for start in range(0, len(page.values), MAX_NAMED):  # a page of 9,000 would block for long
            missing += await neighbour.missing(page.values[start : start + MAX_NAMED])
        for start in range(0, len(missing), MAX_NAMED):
            kept += await neighbour.take(await neighbour.named(missing[start : start + MAX_NAMED]))
        if page.next is None or page.next <= cursor:
            break
        cursor = page.next
    return kept
