"""Files of older versions: nothing is lost, whatever goes wrong on the way."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from p2pfs.errors import UsageError
from p2pfs.store.catalog import open_catalog
from p2pfs.store.migrations import migrate, script
from p2pfs.store.schema import STEPS
from tests.store.kit import open_store

# What a node of the first version had: two shares, two fetched files (one of them in part), names
# that were listed, and descriptions of files from three publishers.
CATALOG_V1 = Path(__file__).with_name("catalog_v1.sql").read_text()
CARTS = script("CREATE TABLE carts (wheel); INSERT INTO carts VALUES (1);")
HORSES = script("""
CREATE TABLE horses (name);
CREATE TRIGGER a_cart_each AFTER INSERT ON horses BEGIN
    INSERT INTO carts VALUES (2);
    INSERT INTO carts VALUES (3);
END;
""")
# Killed between the statements of a step and its commit.
VICTIM = """
import os, sqlite3, sys
from pathlib import Path
from p2pfs.store.migrations import migrate, script

def die(connection):
    script("CREATE TABLE horses (name); INSERT INTO horses VALUES (zeroblob(9000000));")(connection)
    os.kill(os.getpid(), 9)

path = Path(sys.argv[1])
migrate(sqlite3.connect(path, isolation_level=None), path, [die, die])
"""


def make(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), str(connection.execute("PRAGMA user_version").fetchone())]


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()  # noqa: S608 named below


async def test_every_row_of_the_first_version_is_there_after_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    make(path, CATALOG_V1)
    tables = ["roots", "nodes", "chunks", "objects", "shares", "metainfos", "tagged", "names"]
    before, old = {table: rows(path, table) for table in tables}, dump(path)
    async with open_catalog(path) as catalog:
        assert catalog.row("PRAGMA user_version") == (len(STEPS),)
    after = {table: rows(path, table) for table in tables}
    # A new column may come behind the old ones.
    assert {
        table: [new[: len(row)] for new, row in zip(after[table], before[table], strict=True)]
        for table in tables
    } == before
    assert dump(tmp_path / "catalog.sqlite.v1") == old
    assert (tmp_path / "catalog.sqlite.v1").stat().st_mode & 0o777 == 0o600


async def test_the_shares_and_objects_of_the_first_version_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data" / "catalog.sqlite", CATALOG_V1)
    async with open_store(tmp_path) as store:
        shares = {share.path: share for share in store.shares.all()}
        assert sorted(shares) == [b"big.bin", b"notes/hello.txt"]
        assert shares[b"notes/hello.txt"].tags == ("notes", "text", "txt")
        assert store.catalog.row("SELECT count(*) FROM objects") == (2,)


def test_an_upgraded_catalogue_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    def tables(path: Path) -> set[tuple[str, str]]:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection, path, STEPS)
            found = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        return {(name, " ".join((sql or "").split())) for name, sql in found}

    make(tmp_path / "old", CATALOG_V1)
    assert tables(tmp_path / "old") == tables(tmp_path / "new")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that has taken the first step."""
    path = tmp_path / "c"
    upgrade(path, CARTS)
    return path


def upgrade(path: Path, *steps: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, path, steps)  # type: ignore[arg-type]


def siblings(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


def test_a_new_file_and_one_of_this_version_need_no_copy(old: Path) -> None:
    upgrade(old, CARTS)
    assert siblings(old) == {"c"}


def test_steps_are_taken_once_and_in_order(old: Path) -> None:
    for _ in range(2):
        upgrade(old, CARTS, HORSES, script("INSERT INTO horses VALUES ('Rosinante');"))
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT wheel FROM carts").fetchall() == [(1,), (2,), (3,)]
    assert siblings(old) == {"c", "c.v1"}


def test_only_the_last_copy_is_kept(old: Path) -> None:
    upgrade(old, CARTS, HORSES)
    upgrade(old, CARTS, HORSES, script("DROP TABLE carts;"))
    assert siblings(old) == {"c", "c.v2"}


def test_a_step_that_fails_leaves_the_old_file(old: Path) -> None:
    before = dump(old)
    with pytest.raises(sqlite3.OperationalError):
        upgrade(old, CARTS, script("CREATE TABLE horses (name); INSERT INTO mules VALUES (1);"))
    assert dump(old) == before
    upgrade(old, CARTS, HORSES)
    assert dump(old.with_name("c.v1")) == before


def test_a_process_that_dies_in_a_step_leaves_the_old_file(old: Path) -> None:
    before = dump(old)
    assert subprocess.run([sys.executable, "-c", VICTIM, old], check=False).returncode == -9
    assert dump(old) == before
    assert dump(old.with_name("c.v1")) == before
    upgrade(old, CARTS, HORSES)


def test_a_copy_that_was_cut_off_is_made_again(old: Path) -> None:
    before = dump(old)
    old.with_name("c.copying").write_bytes(b"half of a file")
    upgrade(old, CARTS, HORSES)
    assert dump(old.with_name("c.v1")) == before
    assert siblings(old) == {"c", "c.v1"}


def test_without_a_copy_the_file_stays_as_it_is(old: Path) -> None:
    before = dump(old)
    old.with_name("c.copying").mkdir()  # whatever the reason, a copy cannot be made
    with pytest.raises(OSError):
        upgrade(old, CARTS, HORSES)
    assert dump(old) == before


def test_a_file_of_a_newer_version_is_left_alone(old: Path) -> None:
    upgrade(old, CARTS, HORSES)
    before = os.stat(old).st_mtime_ns
    with pytest.raises(UsageError, match="format 2, not 1"):
        upgrade(old, CARTS)
    assert os.stat(old).st_mtime_ns == before


def test_a_step_of_half_a_statement_is_a_mistake(old: Path) -> None:
    with pytest.raises(ValueError, match="middle of a statement"):
        upgrade(old, CARTS, script("CREATE TABLE horses (name)"))
