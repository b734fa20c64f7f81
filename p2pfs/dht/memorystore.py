"""The record store of virtual networks: keys to slots to records, in dicts."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING

from p2pfs.dht.fairshare import Residents, loser, network_ip, origin_of
from p2pfs.dht.memoryrows import KeyRows, Row
from p2pfs.dht.recordstore import (
    DEFAULT_BUDGET,
    MAX_NAMES,
    SECRET_BYTES,
    NamePage,
    RecordPage,
    Room,
    Stored,
    Usage,
    first_names,
    first_page,
    is_full,
    latest_contacts,
    leaving,
    limit_of,
    room_of,
    turn_to_leave,
)
from p2pfs.dht.subjects import KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from p2pfs.dht.fairshare import Origin
    from p2pfs.dht.records import Record
    from p2pfs.dht.subjects import Subject


@dataclass(frozen=True, slots=True)
class _Body:
    """A value, whom its room is put down to, and the rows that it stands in."""

    room: Room
    origin: Origin
    turn: int
    rows: set[tuple[bytes, bytes]] = field(default_factory=set)


@dataclass(slots=True)
class _Room:
    usage: Usage = field(default_factory=lambda: Usage(0, 0))
    crowd: Residents[bytes] = field(default_factory=Residents)  # values


class MemoryRecordStore:
    """See `RecordStore`."""

    def __init__(self, budget: Usage = DEFAULT_BUDGET, secret: bytes | None = None) -> None:
        """`secret` draws samples of tags: given, they are the same in every run."""
        self._budget = budget
        self._secret = secret or os.urandom(SECRET_BYTES)
        self._lock = threading.Lock()
        self.clear()
        self._arrivals = count()
        self._contacts: list[tuple[bytes, int]] = []
        self._estimate = b""

    def put(self, record: Record, source_ip: str, now: int) -> Stored:
        return self.put_all([record], source_ip, now)[0]

    def put_all(self, records: Sequence[Record], source_ip: str, now: int) -> list[Stored]:
        with self._lock:
            return [self._put(record, source_ip, now) for record in records]

    def has_room(self, record: Record, now: int) -> bool:
        full = is_full(record.subject, self.count(record.subject.key, now))
        with self._lock:
            return not full and self._fits(record)

    def rows(self, key: bytes, now: int) -> list[Record]:
        with self._lock:
            return [row.record for row in self._alive(key, now)]

    def page(
        self, key: bytes, cursor: bytes, max_bytes: int, now: int, known: Container[bytes] = ()
    ) -> RecordPage:
        with self._lock:
            after = (row for row in self._alive(key, now) if row.record.slot > cursor)
            unknown = (row.record for row in after if row.digest not in known)
            return first_page(unknown, max_bytes)

    def count(self, key: bytes, now: int) -> int:
        with self._lock:
            under = self._keys.get(key)
            return 0 if under is None else under.count(now)

    def names(self, first: bytes, last: bytes, cursor: bytes, now: int) -> NamePage:
        with self._lock:
            start = max(first, cursor[:KEY_BYTES])
            keys = sorted(key for key in self._keys if start <= key <= last)
            places = (
                (key, row.record.slot, row.digest)
                for key in keys
                for row in self._alive(key, now)
                if key > cursor or key + row.record.slot > cursor
            )
            return first_names(list(islice(places, MAX_NAMES + 1)))

    def named(self, names: Sequence[bytes], now: int) -> list[tuple[Record, str]]:
        wanted = set(names)
        with self._lock:
            return [
                (row.record, network_ip(row.origin))
                for key in dict.fromkeys(name[:KEY_BYTES] for name in names)
                for row in self._alive(key, now)
                if key + row.digest in wanted
            ]

    def absent(self, names: Sequence[bytes], now: int) -> list[bytes]:
        with self._lock:
            held = {
                key + row.digest
                for key in {name[:KEY_BYTES] for name in names}
                for row in self._alive(key, now)
            }
        return [name for name in names if name not in held]

    def expire(self, now: int) -> int:
        with self._lock:
            return sum(self._expire(key, now) for key in list(self._keys))

    def usage(self) -> Usage:
        with self._lock:
            usages = [room.usage for room in self._rooms.values()]
            return Usage(sum(each.values for each in usages), sum(each.bytes for each in usages))

    def contacts(self) -> list[bytes]:
        return [contact for contact, _seen in self._contacts]

    def keep_contacts(self, contacts: Iterable[tuple[bytes, int]]) -> None:
        self._contacts = latest_contacts(contacts)

    def estimate(self) -> bytes:
        return self._estimate

    def keep_estimate(self, estimate: bytes) -> None:
        self._estimate = estimate

    def clear(self) -> None:
        """Forget all records; else they wait with their node for the collector of cycles."""
        with self._lock:
            self._keys: dict[bytes, KeyRows] = {}
            self._bodies: dict[bytes, _Body] = {}
            self._rooms = {room: _Room() for room in Room}

    def _put(self, record: Record, source_ip: str, now: int) -> Stored:
        key = record.subject.key
        held = self._keys[key].by_slot.get(record.slot) if key in self._keys else None
        if held is not None and held.record.value == record.value:
            return Stored.STORED
        if held is not None and held.record.rank >= record.rank:
            return Stored.KEPT_NEWER
        left: list[tuple[Row, _Body]] = []
        if held is not None:
            self._take_out(held, left)
        origin, others = origin_of(record.publisher, source_ip), self._others(record.subject, now)
        turn = turn_to_leave(record, now, self._secret, others)
        row = Row(record, record.digest, origin, turn)
        if self._clear_key(row, others, left) and self._clear_room(row, left):
            self._rooms[room_of(record)].crowd.settle()
            self._add(row)
            return Stored.STORED
        for each, body in left:
            self._add(each, body)
        return Stored.FULL

    def _others(self, subject: Subject, now: int) -> int:
        """The rows under a key that are alive, if those that are not were too many."""
        key = subject.key
        if key in self._keys and is_full(subject, len(self._keys[key].by_slot)):
            self._expire(key, now)
        return len(self._keys[key].by_slot) if key in self._keys else 0

    def _clear_key(self, row: Row, others: int, left: list[tuple[Row, _Body]]) -> bool:
        """Whether there is a row for it under its key now; what had to leave is added to `left`."""
        if not is_full(row.record.subject, others):
            return True
        under = self._keys[row.record.subject.key]
        origin = leaving(row.record, row.origin, row.turn, under.crowd)
        if origin is None:
            return False
        self._take_out(under.by_slot[under.crowd.first_to_leave(origin)], left)
        return True

    def _clear_room(self, row: Row, left: list[tuple[Row, _Body]]) -> bool:
        """The same of the budget, which a value that is held already does not burden."""
        room = self._rooms[room_of(row.record)]
        while not self._fits(row.record):
            origin = loser(row.origin, room.crowd) if room.usage.values else None
            if origin is None:
                return False
            for key, slot in list(self._bodies[room.crowd.first_to_leave(origin)].rows):
                self._take_out(self._keys[key].by_slot[slot], left)
        return True

    def _fits(self, record: Record) -> bool:
        room = room_of(record)
        limit, length = limit_of(room, self._budget), len(record.value)
        return record.value in self._bodies or self._rooms[room].usage.fits(length, limit)

    def _alive(self, key: bytes, now: int) -> list[Row]:
        """In the order of the slots."""
        under = self._keys.get(key)
        return [] if under is None else under.alive(now)

    def _expire(self, key: bytes, now: int) -> int:
        gone = self._keys[key].expired(now)
        for row in gone:
            self._remove(row)
        return len(gone)

    def _take_out(self, row: Row, left: list[tuple[Row, _Body]]) -> None:
        """Remove a row, and note what `_add` puts back as it was."""
        left.append((row, self._bodies[row.record.value]))
        self._remove(row)

    def _add(self, row: Row, former: _Body | None = None) -> None:
        """Also its body, if it is not there: the one that it had, or a new one."""
        record, key = row.record, row.record.subject.key
        self._keys.setdefault(key, KeyRows()).add(row)
        body = self._bodies.get(record.value)
        if body is None:
            new = _Body(room_of(record), row.origin, -next(self._arrivals))
            body = self._bodies[record.value] = former or new
            room = self._rooms[body.room]
            room.usage = room.usage.plus(1, len(record.value))
            room.crowd.add(record.value, body.origin, body.turn)
        body.rows.add((key, record.slot))

    def _remove(self, row: Row) -> None:
        record, key = row.record, row.record.subject.key
        under = self._keys[key]
        under.remove(row)
        if not under.by_slot:
            del self._keys[key]
        body = self._bodies[record.value]
        body.rows.remove((key, record.slot))
        if not body.rows:
            del self._bodies[record.value]
            room = self._rooms[body.room]
            room.usage = room.usage.plus(-1, -len(record.value))
            room.crowd.remove(record.value, body.origin)
