"""Keeping what others stored here, and the contacts of the last run: what every store promises.

Nothing is verified here, and nothing fetched: a `Record` comes from `records`, which verified it.
The store that a node uses is in `sqlitestore`, the one of virtual networks in `memorystore`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Protocol

from p2pfs.dht.fairshare import Crowd, loser
from p2pfs.dht.subjects import PROVIDER, TAG, Subject
from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from p2pfs.dht.fairshare import Origin
    from p2pfs.dht.records import Record

SECRET_BYTES = 32
# Two draws of 48 bits are the same once in a lifetime, and the sum fits SQLite's integers.
_DRAWN_BYTES = 6
# 224 KiB of a page of 256.
MAX_NAMES = 8_192
# Many times what the routing table holds.
MAX_CONTACTS = 1_000


class Stored(Enum):
    """What became of a record."""

    STORED = "stored"
    KEPT_NEWER = "kept newer"
    FULL = "full"


class Room(IntEnum):
    """The parts of a node's budget: what fills one leaves the others alone."""

    INDEX = 0
    ROOTS = 1
    CHUNKS = 2


@dataclass(frozen=True, slots=True)
class Usage:
    """Distinct values (one under several keys counts once) and their bytes."""

    values: int
    bytes: int

    def fits(self, length: int, limit: Usage) -> bool:
        """Whether one more value of that length stays within a limit."""
        return self.values < limit.values and self.bytes + length <= limit.bytes

    def plus(self, values: int, length: int) -> Usage:
        """With so many values of that length in all more."""
        return Usage(self.values + values, self.bytes + length)


# What a node keeps for others, in all.
DEFAULT_BUDGET = Usage(1_000_000, 256 * 1024 * 1024)
# So that a flood of tags leaves room for who has what, and one of chunk ids for roots.
_PERCENT = {Room.INDEX: 40, Room.ROOTS: 30, Room.CHUNKS: 30}


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some of a key's records in the order of their slots, and where the next ones begin."""

    records: tuple[Record, ...]
    next: bytes | None


@dataclass(frozen=True, slots=True)
class NamePage:
    """Names of records in the order of their keys, and where the next ones begin.

    A name is 28 bytes: the key, and the digest of the value.
    """

    names: tuple[bytes, ...]
    next: bytes | None


class KeyCrowd(Crowd, Protocol):
    """The records under a key."""

    def highest_turn(self, origin: Origin) -> int:
        """Of a publisher that has some there."""


class RecordStoreError(P2pfsError):
    """The disk under the record store fails."""

    advice = "see whether the disk is full or broken"


class RecordStore(Protocol):
    """Every call is atomic and comes from any thread; what has expired is never answered.

    No key holds more records than its kind's rules say, and all of them no more than the budget,
    whose parts are limited apart.  What is full is shared out by `fairshare`.
    Only `put` and `put_all` do not raise RecordStoreError: a disk that fails is full.
    """

    def put(self, record: Record, source_ip: str, now: int) -> Stored:
        """Keep a verified record that came from that IP."""

    def put_all(self, records: Sequence[Record], source_ip: str, now: int) -> list[Stored]:
        """Keep several; what became of each."""

    def has_room(self, record: Record, now: int) -> bool:
        """Whether nothing has to leave for it: neither key nor part of the budget are full."""

    def rows(self, key: bytes, now: int) -> list[Record]:
        """Everything under a key, in the order of the slots: as much as its kind's rules allow."""

    def page(
        self, key: bytes, cursor: bytes, max_bytes: int, now: int, known: Container[bytes] = ()
    ) -> RecordPage:
        """The records after a cursor (b"" at first): at least one, at most so many bytes.

        Without those whose digests are known.
        """

    def count(self, key: bytes, now: int) -> int:
        """How many records there are under a key."""

    def names(self, first: bytes, last: bytes, cursor: bytes, now: int) -> NamePage:
        """What there is under the keys from `first` to `last`, after a cursor (b"" at first)."""

    def named(self, names: Sequence[bytes], now: int) -> list[tuple[Record, str]]:
        """Those of these that are here, each with the first address of the network it came from."""

    def absent(self, names: Sequence[bytes], now: int) -> list[bytes]:
        """Those of these that are not here, in their order."""

    def expire(self, now: int) -> int:
        """Forget some of what has expired, in 10 ms or so; how many records, 0 at the end."""

    def usage(self) -> Usage:
        """What all of it takes."""

    def contacts(self) -> list[bytes]:
        """The contacts kept last, the latest seen first."""

    def keep_contacts(self, contacts: Iterable[tuple[bytes, int]]) -> None:
        """Replace the contacts kept by these: opaque bytes, and when each was last seen."""

    def estimate(self) -> bytes:
        """What was kept last of how large the network is; empty if nothing was."""

    def keep_estimate(self, estimate: bytes) -> None:
        """Keep it in the place of the last one, some hundred opaque bytes."""


def first_page(records: Iterable[Record], max_bytes: int) -> RecordPage:
    """As many of a key's records, in order, as a page may hold: at least one, if there is one."""
    taken: list[Record] = []
    length = 0
    for record in records:
        length += len(record.value)
        if taken and length > max_bytes:
            return RecordPage(tuple(taken), taken[-1].slot)
        taken.append(record)
    return RecordPage(tuple(taken), None)


def first_names(places: Sequence[tuple[bytes, bytes, bytes]]) -> NamePage:
    """As many of these in order (key, slot, digest) as a page may hold."""
    taken = places[:MAX_NAMES]
    more = taken[-1][0] + taken[-1][1] if len(places) > MAX_NAMES else None
    return NamePage(tuple(key + digest for key, _slot, digest in taken), more)


def latest_contacts(contacts: Iterable[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """Those that are kept: distinct, the latest seen first, not too many."""
    seen: dict[bytes, int] = {}
    for contact, when in contacts:
        seen[contact] = max(when, seen.get(contact, when))
    return sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:MAX_CONTACTS]


def room_of(record: Record) -> Room:
    """Roots are announced one by one, chunk ids by the sweep, several in a record."""
    if record.subject.kind != PROVIDER:
        return Room.INDEX
    return Room.ROOTS if record.contents == 1 else Room.CHUNKS


def limit_of(room: Room, budget: Usage) -> Usage:
    """The part of the budget that is for records of that sort."""
    percent = _PERCENT[room]
    return Usage(budget.values * percent // 100, budget.bytes * percent // 100)


def turn_to_leave(record: Record, now: int, secret: bytes, others: int) -> int:
    """The highest of a publisher's leaves first; `others` are the rows under its key now.

    Under a tag a uniform sample stays: whom a secret of this node draws.  What came while there was
    room to spare stays longer, for its publisher was not told that the tag's second level counts.
    Under other keys, and of the budget, the oldest leaves.
    """
    if record.subject.kind != TAG:
        return -now
    drawn = int.from_bytes(hmac.digest(secret, record.slot, "sha256")[:_DRAWN_BYTES], "big")
    told = is_full(record.subject, others + 1)
    return drawn + (told << 8 * _DRAWN_BYTES)


def is_full(subject: Subject, rows: int) -> bool:
    """Whether a key that holds so many rows is full; so say publishers, holders and readers."""
    return rows >= subject.rules.rows_per_key


def leaving(record: Record, origin: Origin, turn: int, crowd: KeyCrowd) -> Origin | None:
    """Whose record leaves a full key for a newcomer; None if it is refused."""
    found = loser(origin, crowd)
    if found is None and record.subject.kind == TAG and crowd.highest_turn(origin) > turn:
        return origin
    return found
