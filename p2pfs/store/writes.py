"""The one thread that changes the catalogue: in the order asked for, many changes a commit.

What is changed is said by those who own the tables; this knows no SQL but transactions.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from p2pfs.errors import NoSpaceError
from p2pfs.store.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")

# A commit costs about 0.1 ms, a change less: more a commit would only make the first one wait.
_MAX_CHANGES_A_COMMIT = 256
# The low byte of a result code says what happened, the others where.
_PRIMARY_CODE = 0xFF
# The trouble that the disk or the file can be in; any other error is a mistake in a statement.
_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


@dataclass(eq=False, slots=True)
class _Waiting(Generic[T]):
    """A change, and what came of it once it is settled."""

    change: Callable[[sqlite3.Connection], T]
    settled: trio.Event = field(default_factory=trio.Event)
    result: T | None = None
    error: Exception | None = None


class Writer:
    """Owns the writing connection, which is in autocommit mode."""

    def __init__(self, connection: sqlite3.Connection, token: trio.lowlevel.TrioToken) -> None:
        self._connection = connection
        self._token = token
        self._queue: SimpleQueue[_Waiting[object] | None] = SimpleQueue()
        self._closed = False

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` in the writer's thread, alone and whole or not at all; what it returns.

        It is committed when this returns.  Of a caller that is cancelled the change may still
        happen.  Raises NoSpaceError, CatalogError, and whatever `change` raises.
        """
        if self._closed:
            raise CatalogError("the catalogue is closed")
        waiting = _Waiting(change)
        self._queue.put(waiting)  # type: ignore[arg-type]  # the result comes back to us alone
        await waiting.settled.wait()
        if waiting.error is not None:
            raise waiting.error
        return waiting.result  # type: ignore[return-value]  # settled without an error

    def close(self) -> None:
        """Take no more; the thread ends when it has written what was asked for before."""
        self._closed = True
        self._queue.put(None)

    def write_until_closed(self) -> None:
        """The thread's whole life."""
        closed = False
        while not closed:
            batch = self._next_batch()
            closed = None in batch
            changes = [waiting for waiting in batch if waiting is not None]
            if changes:
                self._commit(changes)
                self._token.run_sync_soon(_settle, changes)
        self._connection.close()

    def _next_batch(self) -> list[_Waiting[object] | None]:
        batch = [self._queue.get()]
        while len(batch) < _MAX_CHANGES_A_COMMIT:
            try:
                batch.append(self._queue.get_nowait())
            except Empty:
                break
        return batch

    def _commit(self, changes: list[_Waiting[object]]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for waiting in changes:
                self._change(waiting)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for waiting in changes:
                waiting.error = waiting.error or domain_error(error)

    def _change(self, waiting: _Waiting[object]) -> None:
        """One change; its failure undoes it alone."""
        self._connection.execute("SAVEPOINT change")
        try:
            waiting.result = waiting.change(self._connection)
        except Exception as error:  # noqa: BLE001 raised where the change was asked for
            waiting.error = domain_error(error)
            self._connection.execute("ROLLBACK TO change")
        self._connection.execute("RELEASE change")


@asynccontextmanager
async def open_writer(connection: sqlite3.Connection) -> AsyncIterator[Writer]:
    """A writer and its thread; what was asked for is written before this ends."""
    writer = Writer(connection, trio.lowlevel.current_trio_token())
    thread = Thread(target=writer.write_until_closed, name="catalogue", daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.close()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)


def domain_error(error: Exception) -> Exception:
    """The same trouble in the words of this program; any other error as it is."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        domain: Exception = NoSpaceError("the disk that holds the catalogue is full")
    elif code in _TROUBLE:
        domain = CatalogError(f"the catalogue cannot be used: {error}")
    else:
        return error
    domain.__cause__ = error
    return domain


def primary_code(error: Exception) -> int:
    """SQLite's result code without its details; SQLITE_OK for an error that is not SQLite's."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & _PRIMARY_CODE


def _settle(changes: list[_Waiting[object]]) -> None:
    for waiting in changes:
        waiting.settled.set()
