"""The catalogue: one SQLite file, its reading and its writing connection.

Its tables are in `schema`; the statements live with the nouns that own the tables.  Whatever is
in it can be built again from the share folder and the network, so a damaged one is set aside and
never stops a node.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from p2pfs.store.errors import CatalogError
from p2pfs.store.migrations import migrate
from p2pfs.store.schema import STEPS
from p2pfs.store.writes import domain_error, open_writer, primary_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from p2pfs.store.writes import Writer

T = TypeVar("T")
Row = tuple[Any, ...]

# Another process can hold the file only for moments (a backup, somebody's sqlite3 shell).
_BUSY_SECONDS = 5.0
# What SQLite says of a file that is cut, overwritten, or was never a database.  Any other trouble
# with reading and writing is the disk's, a full one's as well, and the file as good as it was.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DAMAGE_IN_DETAIL = (
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
    sqlite3.SQLITE_IOERR_DATA,
)

_log = logging.getLogger(__name__)


class Catalog:
    """Reads on the loop's thread, writes through the one writer, looks up beside both."""

    def __init__(
        self, reader: sqlite3.Connection, writer: Writer, seeker: sqlite3.Connection
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._seeker = seeker
        self._seeking = trio.CapacityLimiter(1)  # one thread at a time has the connection

    def row(self, sql: str, *args: object) -> Row | None:
        """The first row of what is committed; raises CatalogError."""
        rows = self.rows(sql, *args)
        return rows[0] if rows else None

    def rows(self, sql: str, *args: object) -> list[Row]:
        """The rows of what is committed; raises CatalogError."""
        try:
            return self._reader.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise domain_error(error) from error

    async def look_up(self, sql: str, *args: object) -> list[Row]:
        """As `rows`, in a thread, for many rows that may not be in memory; can be given up."""
        return await trio.to_thread.run_sync(
            self._look_up, sql, args, limiter=self._seeking, abandon_on_cancel=True
        )

    async def end_look_ups(self) -> None:
        """No more of them; waits for one that was given up and goes on."""
        with trio.CancelScope(shield=True):
            async with self._seeking:
                self._seeker.close()

    def _look_up(self, sql: str, args: tuple[object, ...]) -> list[Row]:
        try:
            return self._seeker.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise domain_error(error) from error

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in the writer's thread, alone and whole or not at all; what it returns.

        It is committed when this returns.  Of a caller that is cancelled the change may still
        happen.  Raises NoSpaceError, CatalogError, and whatever `change` raises.
        """
        return await self._writer.write(change)

    async def execute(self, sql: str, *args: object) -> None:
        """A change of one statement."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(sql, args)

        await self._writer.write(change)


@asynccontextmanager
async def open_catalog(path: Path) -> AsyncIterator[Catalog]:
    """The catalogue in this file, made if there is none, made anew if it is damaged.

    What was to be written is written before this ends.  Raises UsageError for one of a newer
    p2pfs, CatalogError where no file can be made.
    """
    try:
        connection = await trio.to_thread.run_sync(_open_or_rebuild, path)
        reader, seeker = _connect(path), _connect(path)
    except sqlite3.Error as error:
        raise domain_error(error) from error
    except OSError as error:
        raise CatalogError(f"{path} cannot be used: {error.strerror}") from error
    with closing(reader):
        for reading in (reader, seeker):
            reading.execute("PRAGMA query_only = ON")
        async with open_writer(connection) as writer:
            catalog = Catalog(reader, writer, seeker)
            try:
                yield catalog
            finally:
                await catalog.end_look_ups()


def _open_or_rebuild(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return _open_sound(path)
    except _DamagedError as error:
        _log.warning("%s is damaged (%s): set aside, and built anew", path, error)
    _set_aside(path)
    return _open_sound(path)


class _DamagedError(Exception):
    pass


def _open_sound(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    try:
        _make_sound(connection, path)
    except sqlite3.Error as error:
        connection.close()
        if _is_damage(error):
            raise _DamagedError(str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.Error) -> bool:
    in_detail = getattr(error, "sqlite_errorcode", None)
    return primary_code(error) in _DAMAGE or in_detail in _DAMAGE_IN_DETAIL


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # opened in one thread, used in another, never in two at once
    )


def _make_sound(connection: sqlite3.Connection, path: Path) -> None:
    """Settings, a look at every page, and the tables; raises sqlite3.Error or _DamagedError."""
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may undo the last commits and nothing else; files and hashes tell the rest.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _DamagedError(verdict)
    migrate(connection, path, STEPS)


def _set_aside(path: Path) -> None:
    """Only the last damaged one is kept: disks are finite.  Its log goes with it."""
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.replace(path.with_name(f"{path.name}.damaged{suffix}"))
