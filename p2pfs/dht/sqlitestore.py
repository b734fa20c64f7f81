"""The records that others stored here, and the contacts of the last run, in one SQLite file.

What a record store promises is written in `recordstore`.  Losing the file costs nothing that the
network does not bring again, so one that cannot be used is moved aside.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

from p2pfs.content.metainfo import SKEW_SECONDS
from p2pfs.dht.records import PROVIDER, Record, parse_subject
from p2pfs.dht.recordstore import (
    DEFAULT_BUDGET,
    RecordPage,
    RecordStoreError,
    Stored,
    Usage,
    first_page,
    latest_contacts,
    limit_of,
    refusal,
)
from p2pfs.errors import UsageError
from p2pfs.store.migrations import migrate, script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from p2pfs.dht.records import Subject

T = TypeVar("T")
_log = logging.getLogger(__name__)

# Triggers count uses and bytes, so that the counts are right after any crash.
_VERSION_1 = """
CREATE TABLE bodies (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL,
    provider INTEGER NOT NULL, uses INTEGER NOT NULL DEFAULT 0);
CREATE TABLE records (
    key BLOB NOT NULL, slot BLOB NOT NULL, subject BLOB NOT NULL, publisher BLOB NOT NULL,
    expires INTEGER NOT NULL, rank INTEGER NOT NULL, body INTEGER NOT NULL REFERENCES bodies,
    source TEXT NOT NULL, stored INTEGER NOT NULL,
    PRIMARY KEY (key, slot)) WITHOUT ROWID;
CREATE INDEX records_by_expiry ON records (expires);
CREATE TABLE usage (provider INTEGER PRIMARY KEY, amount INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO usage VALUES (0, 0, 0), (1, 0, 0);
CREATE TABLE contacts (contact BLOB PRIMARY KEY, seen INTEGER NOT NULL);
CREATE TRIGGER body_in AFTER INSERT ON bodies BEGIN
    UPDATE usage SET amount = amount + 1, bytes = bytes + length(new.body)
    WHERE provider = new.provider;
END;
CREATE TRIGGER body_out AFTER DELETE ON bodies BEGIN
    UPDATE usage SET amount = amount - 1, bytes = bytes - length(old.body)
    WHERE provider = old.provider;
END;
CREATE TRIGGER record_in AFTER INSERT ON records BEGIN
    UPDATE bodies SET uses = uses + 1 WHERE id = new.body;
END;
CREATE TRIGGER record_out AFTER DELETE ON records BEGIN
    UPDATE bodies SET uses = uses - 1 WHERE id = old.body;
    DELETE FROM bodies WHERE id = old.body AND uses = 0;
END;
"""
_STEPS = (script(_VERSION_1),)
_ROW = (
    "SELECT slot, publisher, expires, rank, bodies.body, subject"
    " FROM records JOIN bodies ON bodies.id = records.body "
)
# So that nobody waits long behind it.
_EXPIRED_AT_ONCE = 500
# One process has the file; a person who looks into it must not stop the event loop for long.
_LOCKED_SECONDS = 0.2
_UNUSABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def open_record_store(path: Path, budget: Usage = DEFAULT_BUDGET) -> Iterator[SqliteRecordStore]:
    """The store in a file, made if it is not there; one that cannot be used is moved aside.

    What is lost with it the network brings again.  Raises RecordStoreError.
    """
    store = SqliteRecordStore(path, budget)
    store.usage()  # opens it
    with closing(store):
        yield store


class SqliteRecordStore:
    """One connection, one lock; it opens at the first use.  Made by `open_record_store`."""

    def __init__(self, path: Path, budget: Usage) -> None:
        self._path = path
        self._budget = budget
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def put(self, record: Record, source_ip: str, now: int) -> Stored:
        return self.put_all([record], source_ip, now)[0]

    def put_all(self, records: Sequence[Record], source_ip: str, now: int) -> list[Stored]:
        def change(database: sqlite3.Connection) -> list[Stored]:
            return [self._put(database, record, source_ip, now) for record in records]

        try:
            return self._change(change)
        except RecordStoreError as error:
            _log.warning("records refused: %s", error)
            return [Stored.FULL for _ in records]

    def rows(self, key: bytes, now: int) -> list[Record]:
        sql = _ROW + "WHERE key = ? AND expires > ? ORDER BY slot"
        return self._read(
            lambda database: list(_records(database.execute(sql, (key, _since(now)))))
        )

    def page(self, key: bytes, cursor: bytes, max_bytes: int, now: int) -> RecordPage:
        sql = _ROW + "WHERE key = ? AND slot > ? AND expires > ? ORDER BY slot"
        return self._read(
            lambda database: first_page(
                _records(database.execute(sql, (key, cursor, _since(now)))), max_bytes
            )
        )

    def count(self, key: bytes, now: int) -> int:
        return self._read(lambda database: _count(database, key, now))

    def expire(self, now: int) -> int:
        sql = (
            "DELETE FROM records WHERE (key, slot) IN"
            " (SELECT key, slot FROM records WHERE expires <= ? LIMIT ?)"
        )
        expired = 0
        while True:
            removed = self._change(
                lambda database: database.execute(sql, (_since(now), _EXPIRED_AT_ONCE)).rowcount
            )
            expired += removed
            if removed < _EXPIRED_AT_ONCE:
                return expired

    def usage(self) -> Usage:
        sql = "SELECT sum(amount), sum(bytes) FROM usage"
        return self._read(lambda database: Usage(*database.execute(sql).fetchone()))

    def contacts(self) -> list[bytes]:
        sql = "SELECT contact FROM contacts ORDER BY seen DESC, contact"
        return self._read(lambda database: [row[0] for row in database.execute(sql)])

    def keep_contacts(self, contacts: Iterable[tuple[bytes, int]]) -> None:
        kept = latest_contacts(contacts)

        def change(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM contacts")
            database.executemany("INSERT INTO contacts VALUES (?, ?)", kept)

        self._change(change)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _put(
        self, database: sqlite3.Connection, record: Record, source_ip: str, now: int
    ) -> Stored:
        key = record.subject.key
        sql = _ROW + "WHERE key = ? AND slot = ?"
        held = next(_records(database.execute(sql, (key, record.slot))), None)
        if held is not None and held.value == record.value:
            return Stored.STORED
        body = _body_id(database, record.value)
        fits = body is not None or self._fits(database, record)
        refused = refusal(record, held, _count(database, key, now), fits=fits)
        if refused is not None:
            return refused
        if body is None:
            body = _insert_body(database, record)
        database.execute("DELETE FROM records WHERE key = ? AND slot = ?", (key, record.slot))
        about = (key, record.slot, record.subject.encode(), record.publisher)
        database.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*about, record.expires, record.rank, body, source_ip, now),
        )
        return Stored.STORED

    def _fits(self, database: sqlite3.Connection, record: Record) -> bool:
        kind = record.subject.kind
        sql = "SELECT amount, bytes FROM usage WHERE provider = ?"
        used = Usage(*database.execute(sql, (kind == PROVIDER,)).fetchone())
        return used.fits(len(record.value), limit_of(kind, self._budget))

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` finds, in a fresh database if this one is beyond use."""
        with self._lock:
            try:
                try:
                    return read(self._opened())
                except sqlite3.DatabaseError as error:
                    self._close()
                    if not _is_unusable(error):
                        raise
                    _log.warning("%s is moved aside: %s", self._path, error)
                    _move_aside(self._path)
                return read(self._opened())
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise RecordStoreError(f"the record store {self._path} fails: {error}") from error

    def _change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """The same, in one transaction."""

        def transaction(database: sqlite3.Connection) -> T:
            database.execute("BEGIN IMMEDIATE")
            try:
                result = change(database)
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
            return result

        return self._read(transaction)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = _connect(self._path)
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(
        path, timeout=_LOCKED_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        # Without a wait for the disk at each record: a power cut may cost the last ones, no more.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        _lay_out(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _lay_out(database: sqlite3.Connection, path: Path) -> None:
    try:
        migrate(database, path, _STEPS)
    except UsageError as error:
        raise sqlite3.DatabaseError(str(error)) from error


def _is_unusable(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is broken or not ours, rather than the disk full or the file locked."""
    code = getattr(error, "sqlite_errorcode", None)  # absent if the error is not SQLite's own
    return type(error) is sqlite3.DatabaseError and (code is None or code & 0xFF in _UNUSABLE)


def _move_aside(path: Path) -> None:
    # The log first: beside a new file it would be taken for that one's.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.rename(path.with_name(path.name + ".unusable"))


def _body_id(database: sqlite3.Connection, value: bytes) -> int | None:
    row = database.execute(
        "SELECT id FROM bodies WHERE digest = ?", (hashlib.sha256(value).digest(),)
    ).fetchone()
    return None if row is None else int(row[0])


def _insert_body(database: sqlite3.Connection, record: Record) -> int | None:
    digest = hashlib.sha256(record.value).digest()
    return database.execute(
        "INSERT INTO bodies (digest, body, provider) VALUES (?, ?, ?)",
        (digest, record.value, record.subject.kind == PROVIDER),
    ).lastrowid


def _count(database: sqlite3.Connection, key: bytes, now: int) -> int:
    sql = "SELECT count(*) FROM records WHERE key = ? AND expires > ?"
    return int(database.execute(sql, (key, _since(now))).fetchone()[0])


def _since(now: int) -> int:
    """What expires later than this has not expired, as `metainfo.has_expired` says."""
    return now - SKEW_SECONDS


def _records(rows: Iterable[tuple[bytes, bytes, int, int, bytes, bytes]]) -> Iterator[Record]:
    """Rows of one key as records; they share their subject."""
    subject: Subject | None = None
    for slot, publisher, expires, rank, value, encoded_subject in rows:
        subject = subject or parse_subject(encoded_subject)
        yield Record(subject, value, publisher, expires, rank, slot)
