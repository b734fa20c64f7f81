"""The records that others stored here, and the contacts of the last run, in one SQLite file.

What a record store promises is written in `recordstore`; how the tables are read, `recordreading`
says.  Losing the file costs nothing that the network does not bring again, so one that cannot be
used is moved aside.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from p2pfs.dht import recordreading as reading
from p2pfs.dht.fairshare import loser, origin_of
from p2pfs.dht.recordfile import RecordFile
from p2pfs.dht.recordstore import (
    DEFAULT_BUDGET,
    SECRET_BYTES,
    RecordStoreError,
    Stored,
    Usage,
    is_full,
    latest_contacts,
    leaving,
    limit_of,
    room_of,
    turn_to_leave,
)
from p2pfs.dht.recordtables import KeyCrowd, RoomCrowd

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from p2pfs.dht.fairshare import Origin
    from p2pfs.dht.records import Record
    from p2pfs.dht.recordstore import NamePage, RecordPage
    from p2pfs.dht.subjects import Subject

_log = logging.getLogger(__name__)

# Each takes a tenth of a millisecond, and the overlay waits.
_EXPIRED_AT_ONCE = 100


@contextmanager
def open_record_store(
    path: Path, budget: Usage = DEFAULT_BUDGET, secret: bytes | None = None
) -> Iterator[SqliteRecordStore]:
    """The store in a file, made if it is not there; one that cannot be used is moved aside.

    What is lost with it the network brings again.  `secret` draws samples of tags: a new one in
    each run unless it is given.  Raises RecordStoreError.
    """
    store = SqliteRecordStore(path, budget, secret or os.urandom(SECRET_BYTES))
    store.usage()  # opens it
    with closing(store):
        yield store


class SqliteRecordStore:
    """See `RecordStore`; made by `open_record_store`."""

    def __init__(self, path: Path, budget: Usage, secret: bytes) -> None:
        self._file = RecordFile(path)
        self._budget = budget
        self._secret = secret

    def put(self, record: Record, source_ip: str, now: int) -> Stored:
        return self.put_all([record], source_ip, now)[0]

    def put_all(self, records: Sequence[Record], source_ip: str, now: int) -> list[Stored]:
        def change(database: sqlite3.Connection) -> list[Stored]:
            return [self._put(database, record, source_ip, now) for record in records]

        try:
            return self._file.change(change)
        except RecordStoreError as error:
            _log.warning("records refused: %s", error)
            return [Stored.FULL for _ in records]

    def has_room(self, record: Record, now: int) -> bool:
        return self._file.read(
            lambda database: (
                not is_full(record.subject, reading.count(database, record.subject.key, now))
                and self._fits(database, record)
            )
        )

    def rows(self, key: bytes, now: int) -> list[Record]:
        return self._file.read(lambda database: reading.rows(database, key, now))

    def page(
        self, key: bytes, cursor: bytes, max_bytes: int, now: int, known: Container[bytes] = ()
    ) -> RecordPage:
        return self._file.read(
            lambda database: reading.page(database, key, cursor, max_bytes, now, known)
        )

    def count(self, key: bytes, now: int) -> int:
        return self._file.read(lambda database: reading.count(database, key, now))

    def names(self, first: bytes, last: bytes, cursor: bytes, now: int) -> NamePage:
        return self._file.read(lambda database: reading.names(database, first, last, cursor, now))

    def named(self, names: Sequence[bytes], now: int) -> list[tuple[Record, str]]:
        return self._file.read(lambda database: reading.named(database, names, now))

    def absent(self, names: Sequence[bytes], now: int) -> list[bytes]:
        return self._file.read(lambda database: reading.absent(database, names, now))

    def expire(self, now: int) -> int:
        sql = (
            "DELETE FROM records WHERE (key, slot) IN"
            " (SELECT key, slot FROM records WHERE expires <= ? LIMIT ?)"
        )
        return self._file.change(
            lambda database: database.execute(sql, (reading.since(now), _EXPIRED_AT_ONCE)).rowcount
        )

    def usage(self) -> Usage:
        sql = "SELECT sum(amount), sum(bytes) FROM usage"
        return self._file.read(lambda database: Usage(*database.execute(sql).fetchone()))

    def contacts(self) -> list[bytes]:
        sql = "SELECT contact FROM contacts ORDER BY seen DESC, contact"
        return self._file.read(lambda database: [row[0] for row in database.execute(sql)])

    def keep_contacts(self, contacts: Iterable[tuple[bytes, int]]) -> None:
        kept = latest_contacts(contacts)

        def change(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM contacts")
            database.executemany("INSERT INTO contacts VALUES (?, ?)", kept)

        self._file.change(change)

    def estimate(self) -> bytes:
        sql = "SELECT kept FROM estimate"
        rows = self._file.read(lambda database: database.execute(sql).fetchall())
        return bytes(rows[0][0]) if rows else b""

    def keep_estimate(self, estimate: bytes) -> None:
        sql = "INSERT OR REPLACE INTO estimate VALUES (0, ?)"
        self._file.change(lambda database: database.execute(sql, (estimate,)))

    def close(self) -> None:
        self._file.close()

    def _put(
        self, database: sqlite3.Connection, record: Record, source_ip: str, now: int
    ) -> Stored:
        place = record.subject.key, record.slot
        held = reading.row(database, *place)
        if held is not None and held.value == record.value:
            return Stored.STORED
        if held is not None and held.rank >= record.rank:
            return Stored.KEPT_NEWER
        origin = origin_of(record.publisher, source_ip)
        database.execute("SAVEPOINT before")
        database.execute("DELETE FROM records WHERE key = ? AND slot = ?", place)
        others = _others(database, record.subject, now)
        turn = turn_to_leave(record, now, self._secret, others)
        fits = _clear_key(database, record, origin, turn, others) and self._clear_room(
            database, record, origin
        )
        if fits:
            _insert(database, record, origin, turn)
        else:
            database.execute("ROLLBACK TO before")
        database.execute("RELEASE before")
        return Stored.STORED if fits else Stored.FULL

    def _clear_room(self, database: sqlite3.Connection, record: Record, origin: Origin) -> bool:
        """Whether there is room for its value now, whatever had to leave."""
        crowd = RoomCrowd(database, room_of(record))
        while not self._fits(database, record):
            loses = loser(origin, crowd) if crowd.usage().values else None
            if loses is None:
                return False
            crowd.remove_first(loses)
        return True

    def _fits(self, database: sqlite3.Connection, record: Record) -> bool:
        room = room_of(record)
        limit, length = limit_of(room, self._budget), len(record.value)
        is_held = _body_id(database, record.value) is not None
        return is_held or RoomCrowd(database, room).usage().fits(length, limit)


def _body_id(database: sqlite3.Connection, value: bytes) -> int | None:
    row = database.execute(
        "SELECT id FROM bodies WHERE digest = ?", (hashlib.sha256(value).digest(),)
    ).fetchone()
    return None if row is None else int(row[0])


def _others(database: sqlite3.Connection, subject: Subject, now: int) -> int:
    """The rows under a key that are alive, if those that are not were too many."""
    crowd = KeyCrowd(database, subject.key)
    rows = crowd.size(())
    if not is_full(subject, rows):
        return rows
    sql = "DELETE FROM records WHERE key = ? AND expires <= ?"
    return rows - database.execute(sql, (subject.key, reading.since(now))).rowcount


def _clear_key(
    database: sqlite3.Connection, record: Record, origin: Origin, turn: int, others: int
) -> bool:
    """Whether there is a row for it under its key now, whatever had to leave."""
    if not is_full(record.subject, others):
        return True
    crowd = KeyCrowd(database, record.subject.key)
    loses = leaving(record, origin, turn, crowd)
    if loses is not None:
        crowd.remove_first(loses)
    return loses is not None


def _insert(database: sqlite3.Connection, record: Record, origin: Origin, turn: int) -> None:
    body = _body_id(database, record.value)
    if body is None:
        digest = hashlib.sha256(record.value).digest()
        about = (digest, record.value, room_of(record), record.contents)
        body = database.execute(
            "INSERT INTO bodies (digest, body, room, contents, wide, narrow, who)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*about, *origin),
        ).lastrowid
    place = (record.subject.key, record.slot, record.subject.encode(), record.publisher)
    database.execute(
        "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*place, record.expires, record.rank, body, *origin, turn),
    )
