"""The file of a record store: opened at its first use, moved aside when it cannot be used.

What lies in it is laid out in `recordtables`, and read and written by `sqlitestore`.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, TypeVar

from p2pfs.dht.recordstore import RecordStoreError
from p2pfs.dht.recordtables import STEPS
from p2pfs.errors import UsageError
from p2pfs.store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
_log = logging.getLogger(__name__)

# One process has the file; a person who looks into it must not stop the event loop for long.
_LOCKED_SECONDS = 0.2
_UNUSABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class RecordFile:
    """One connection, one lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def close(self) -> None:
        """It opens again at the next use."""
        with self._lock:
            self._close()

    def read(self, read: Callable[[sqlite3.Connection], T]) -> T:
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

    def change(self, change: Callable[[sqlite3.Connection], T]) -> T:
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

        return self.read(transaction)

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
        migrate(database, path, STEPS)
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
