"""What is read of the tables of a record store: rows of a key, pages, names.

Each function asks an open database, and is atomic if its caller lets nobody else in; what it
promises is written in `recordstore`.  What is written is `sqlitestore`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.content.metainfo import SKEW_SECONDS
from p2pfs.dht.fairshare import network_ip
from p2pfs.dht.records import DIGEST_BYTES, Record
from p2pfs.dht.recordstore import MAX_NAMES, NamePage, RecordPage, first_names, first_page
from p2pfs.dht.subjects import KEY_BYTES, parse_subject

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Container, Iterable, Iterator, Sequence

    from p2pfs.dht.subjects import Subject

_BODIES = " FROM records JOIN bodies ON bodies.id = records.body "
_FIELDS = "slot, publisher, expires, rank, bodies.body, contents, subject"
_ROW = "SELECT " + _FIELDS + _BODIES
_DIGEST = f"substr(digest, 1, {DIGEST_BYTES})"
_OF_NAME = _BODIES + f"WHERE key = ? AND {_DIGEST} = ? AND expires > ?"


def since(now: int) -> int:
    """What expires later than this has not expired, as `metainfo.has_expired` says."""
    return now - SKEW_SECONDS


def row(database: sqlite3.Connection, key: bytes, slot: bytes) -> Record | None:
    """The one in that slot, also if it has expired."""
    sql = _ROW + "WHERE key = ? AND slot = ?"
    return next(_records(database.execute(sql, (key, slot))), None)


def rows(database: sqlite3.Connection, key: bytes, now: int) -> list[Record]:
    """See `RecordStore`."""
    sql = _ROW + "WHERE key = ? AND expires > ? ORDER BY slot"
    return list(_records(database.execute(sql, (key, since(now)))))


def page(
    database: sqlite3.Connection,
    key: bytes,
    cursor: bytes,
    max_bytes: int,
    now: int,
    known: Container[bytes],
) -> RecordPage:
    """See `RecordStore`; no more is read than the page holds, and what is known before it."""
    sql = (
        f"SELECT {_DIGEST}, "
        + _FIELDS
        + _BODIES
        + "WHERE key = ? AND slot > ? AND expires > ? ORDER BY slot"
    )
    found = database.execute(sql, (key, cursor, since(now)))
    unknown = (tuple(fields) for digest, *fields in found if digest not in known)
    return first_page(_records(unknown), max_bytes)


def count(database: sqlite3.Connection, key: bytes, now: int) -> int:
    """See `RecordStore`."""
    sql = "SELECT count(*) FROM records WHERE key = ? AND expires > ?"
    return int(database.execute(sql, (key, since(now))).fetchone()[0])


def names(
    database: sqlite3.Connection, first: bytes, last: bytes, cursor: bytes, now: int
) -> NamePage:
    """See `RecordStore`."""
    sql = (
        f"SELECT key, slot, {_DIGEST}"
        + _BODIES
        + "WHERE key BETWEEN ? AND ? AND (key, slot) > (?, ?) AND expires > ?"
        " ORDER BY key, slot LIMIT ?"
    )
    after = cursor[:KEY_BYTES], cursor[KEY_BYTES:]
    span = max(first, after[0]), last
    found = database.execute(sql, (*span, *after, since(now), MAX_NAMES + 1))
    return first_names(found.fetchall())


def named(
    database: sqlite3.Connection, wanted: Sequence[bytes], now: int
) -> list[tuple[Record, str]]:
    """See `RecordStore`."""
    sql = "SELECT records.wide, records.narrow, records.who, " + _FIELDS + _OF_NAME
    return [
        (next(_records([tuple(fields)])), network_ip((wide, narrow, who)))
        for name in wanted
        for wide, narrow, who, *fields in database.execute(sql, _of_name(name, now))
    ]


def absent(database: sqlite3.Connection, wanted: Sequence[bytes], now: int) -> list[bytes]:
    """See `RecordStore`."""
    sql = "SELECT 1" + _OF_NAME
    return [name for name in wanted if not database.execute(sql, _of_name(name, now)).fetchall()]


def _of_name(name: bytes, now: int) -> tuple[bytes, bytes, int]:
    return name[:KEY_BYTES], name[KEY_BYTES:], since(now)


def _records(
    found: Iterable[tuple[bytes, bytes, int, int, bytes, int, bytes]],
) -> Iterator[Record]:
    """Rows of one key as records; they share their subject."""
    subject: Subject | None = None
    for slot, publisher, expires, rank, value, contents, encoded_subject in found:
        subject = subject or parse_subject(encoded_subject)
        yield Record(subject, value, publisher, expires, rank, slot, contents)
