"""Keeping what others stored here, and the contacts of the last run: the seam, and a dict.

Nothing is verified here, and nothing fetched: a `Record` comes from `records`, which verified it.
The store that a node uses is in `sqlitestore`; the one in memory is for virtual networks.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from p2pfs.content.metainfo import has_expired
from p2pfs.dht.records import PROVIDER, Record
from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Many times what the routing table holds.
MAX_CONTACTS = 1_000


class Stored(Enum):
    """What became of a record."""

    STORED = "stored"
    KEPT_NEWER = "kept newer"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Usage:
    """Distinct values (one under several keys counts once) and their bytes."""

    values: int
    bytes: int

    def fits(self, length: int, limit: Usage) -> bool:
        """Whether one more value of that length stays within a limit."""
        return self.values < limit.values and self.bytes + length <= limit.bytes


# What a node keeps for others, in all.
DEFAULT_BUDGET = Usage(1_000_000, 256 * 1024 * 1024)
# So that a flood of tags leaves room for who has what, and the other way round.
_INDEX_PERCENT, _PROVIDER_PERCENT = 40, 60


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some of a key's records in the order of their slots, and where the next ones begin."""

    records: tuple[Record, ...]
    next: bytes | None


class RecordStoreError(P2pfsError):
    """The disk under the record store fails."""

    advice = "see whether the disk is full or broken"


class RecordStore(Protocol):
    """Every call is atomic and comes from any thread; what has expired is never answered.

    Only `put` and `put_all` do not raise RecordStoreError: a disk that fails is full.
    """

    def put(self, record: Record, source_ip: str, now: int) -> Stored:
        """Keep a verified record that came from that IP."""

    def put_all(self, records: Sequence[Record], source_ip: str, now: int) -> list[Stored]:
        """Keep several; what became of each."""

    def rows(self, key: bytes, now: int) -> list[Record]:
        """Everything under a key, in the order of the slots: as much as its kind's rules allow."""

    def page(self, key: bytes, cursor: bytes, max_bytes: int, now: int) -> RecordPage:
        """The records after a cursor (b"" at first): at least one, at most so many bytes."""

    def count(self, key: bytes, now: int) -> int:
        """How many records there are under a key."""

    def expire(self, now: int) -> int:
        """Forget what has expired; how many records that was."""

    def usage(self) -> Usage:
        """What all of it takes."""

    def contacts(self) -> list[bytes]:
        """The contacts kept last, the latest seen first."""

    def keep_contacts(self, contacts: Iterable[tuple[bytes, int]]) -> None:
        """Replace the contacts kept by these: opaque bytes, and when each was last seen."""


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


def latest_contacts(contacts: Iterable[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """Those that are kept: distinct, the latest seen first, not too many."""
    seen: dict[bytes, int] = {}
    for contact, when in contacts:
        seen[contact] = max(when, seen.get(contact, when))
    return sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:MAX_CONTACTS]


def limit_of(kind: str, budget: Usage) -> Usage:
    """The part of the budget that is for a kind of record, together with its like."""
    percent = _PROVIDER_PERCENT if kind == PROVIDER else _INDEX_PERCENT
    return Usage(budget.values * percent // 100, budget.bytes * percent // 100)


def refusal(record: Record, held: Record | None, in_key: int, *, fits: bool) -> Stored | None:
    """Why a record is not to be stored beside what is there, None if it is."""
    if held is not None:
        return None if record.rank > held.rank else Stored.KEPT_NEWER
    return None if fits and in_key < record.subject.rules.rows_per_key else Stored.FULL


@dataclass(frozen=True, slots=True)
class _Row:
    record: Record
    source_ip: str
    stored: int


class MemoryRecordStore:
    """Keys to slots to records, in dicts."""

    def __init__(self, budget: Usage = DEFAULT_BUDGET) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._keys: dict[bytes, dict[bytes, _Row]] = {}
        self._uses: Counter[bytes] = Counter()
        self._contacts: list[tuple[bytes, int]] = []

    def put(self, record: Record, source_ip: str, now: int) -> Stored:
        return self.put_all([record], source_ip, now)[0]

    def put_all(self, records: Sequence[Record], source_ip: str, now: int) -> list[Stored]:
        with self._lock:
            return [self._put(_Row(record, source_ip, now)) for record in records]

    def rows(self, key: bytes, now: int) -> list[Record]:
        with self._lock:
            return self._alive(key, now)

    def page(self, key: bytes, cursor: bytes, max_bytes: int, now: int) -> RecordPage:
        return first_page((row for row in self.rows(key, now) if row.slot > cursor), max_bytes)

    def count(self, key: bytes, now: int) -> int:
        return len(self.rows(key, now))

    def expire(self, now: int) -> int:
        with self._lock:
            gone = [
                (key, slot)
                for key, slots in self._keys.items()
                for slot, row in slots.items()
                if has_expired(row.record.expires, now)
            ]
            for key, slot in gone:
                self._forget(key, slot)
            return len(gone)

    def usage(self) -> Usage:
        with self._lock:
            return _usage_of(self._uses)

    def contacts(self) -> list[bytes]:
        return [contact for contact, _seen in self._contacts]

    def keep_contacts(self, contacts: Iterable[tuple[bytes, int]]) -> None:
        self._contacts = latest_contacts(contacts)

    def _put(self, row: _Row) -> Stored:
        record, key = row.record, row.record.subject.key
        slots = self._keys.get(key, {})
        held = slots[record.slot].record if record.slot in slots else None
        if held is not None and held.value == record.value:
            return Stored.STORED
        refused = refusal(record, held, len(self._alive(key, row.stored)), fits=self._fits(record))
        if refused is not None:
            return refused
        if held is not None:
            self._forget(key, record.slot)
        self._keys.setdefault(key, {})[record.slot] = row
        self._uses[record.value] += 1
        return Stored.STORED

    def _fits(self, record: Record) -> bool:
        limit = limit_of(record.subject.kind, self._budget)
        like = (
            row.record.value
            for slots in self._keys.values()
            for row in slots.values()
            if limit_of(row.record.subject.kind, self._budget) == limit
        )
        return record.value in self._uses or _usage_of(like).fits(len(record.value), limit)

    def _alive(self, key: bytes, now: int) -> list[Record]:
        slots = self._keys.get(key, {})
        return [
            slots[slot].record
            for slot in sorted(slots)
            if not has_expired(slots[slot].record.expires, now)
        ]

    def _forget(self, key: bytes, slot: bytes) -> None:
        row = self._keys[key].pop(slot)
        if not self._keys[key]:
            del self._keys[key]
        self._uses[row.record.value] -= 1
        if not self._uses[row.record.value]:
            del self._uses[row.record.value]


def _usage_of(values: Iterable[bytes]) -> Usage:
    distinct = set(values)
    return Usage(len(distinct), sum(map(len, distinct)))
