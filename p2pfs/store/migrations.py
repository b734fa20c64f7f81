"""Bringing an SQLite file of an older p2pfs to this one's tables, without ever losing the old one.

The steps themselves stand beside the tables they make (`store.schema`, `dht.sqlitestore`): step n
takes a file of version n - 1, an empty one being version 0, to version n, which `user_version`
tells.  To change tables, add SQL to the last step if no release has had it yet, else a new step
at the end; a step that was released is never touched again.  A step is SQL (`script`) or a
function that is given the connection in a transaction, which it leaves open.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from p2pfs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Step = Callable[[sqlite3.Connection], None]


def script(sql: str) -> Step:
    """A step of these statements; `executescript` would commit before the first of them."""

    def step(connection: sqlite3.Connection) -> None:
        for statement in _statements(sql):
            connection.execute(statement)

    return step


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Step]) -> None:
    """Take the file at `path` to the last step's version, each step whole or not at all.

    Before the first step its copy is on the disk, as `<name>.v<version>`; only the last copy is
    kept.  Raises UsageError for the file of a newer p2pfs, which is left as it is, sqlite3.Error
    and OSError where the disk has no room for the copy.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= len(steps):
        raise UsageError(
            f"{path} was made by another p2pfs (format {version}, not {len(steps)}); "
            "use that one, or move the file away"
        )
    if 0 < version < len(steps):
        _back_up(connection, path, version)
    for number, step in enumerate(steps[version:], version + 1):
        _take(connection, step, number)


def _take(connection: sqlite3.Connection, step: Step, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        step(connection)
        connection.execute(f"PRAGMA user_version = {number}")  # a part of the transaction
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # the first error says more, and may have rolled back
            connection.execute("ROLLBACK")
        raise


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """A copy under its name is whole: it gets the name when all of it is on the disk."""
    backup = path.with_name(f"{path.name}.v{version}")
    unfinished = path.with_name(f"{path.name}.copying")
    unfinished.unlink(missing_ok=True)  # of a start that was cut off
    connection.execute("VACUUM INTO ?", (str(unfinished),))
    unfinished.chmod(0o600)
    _sync(unfinished)
    unfinished.replace(backup)
    _sync(path.parent)
    for older in range(1, version):
        path.with_name(f"{path.name}.v{older}").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _statements(sql: str) -> Iterator[str]:
    """One after the other; a trigger has semicolons of its own."""
    statement = ""
    for part in re.split("(?<=;)", sql):
        statement += part
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"a step ends in the middle of a statement: {statement!r}")
