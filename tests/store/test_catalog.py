"""The catalogue: whole or nothing, in order, and never in the way of a start."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pfs.concurrency import all_of
from p2pfs.errors import NoSpaceError, UsageError
from p2pfs.store import catalog as catalog_module
from p2pfs.store.catalog import Catalog, open_catalog
from p2pfs.store.errors import CatalogError
from p2pfs.store.schema import STEPS

INSERT = "INSERT INTO names VALUES (?, ?, ?)"


def names(count: int, connection: sqlite3.Connection) -> None:
    connection.executemany(INSERT, [("music", str(index), b"cid") for index in range(count)])


async def test_what_was_written_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "a" / "catalog.sqlite"
    async with open_catalog(path) as catalog:
        await catalog.execute(INSERT, "music", "song.mp3", b"cid")
        assert catalog.row("SELECT cid FROM names") == (b"cid",)
    async with open_catalog(path) as catalog:
        assert catalog.rows("SELECT name FROM names") == [("song.mp3",)]
        assert catalog.row("PRAGMA user_version") == (len(STEPS),)


async def test_a_change_that_fails_leaves_nothing_and_spares_its_neighbours(tmp_path: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        names(3, connection)
        raise LookupError("in the middle")

    failures = []

    async def fail(catalog: Catalog) -> None:
        try:
            await catalog.write(half)
        except LookupError as error:
            failures.append(str(error))

    async with open_catalog(tmp_path / "c") as catalog:
        others = [partial(catalog.execute, INSERT, "t", str(index), b"") for index in range(20)]
        await all_of([*others[:10], partial(fail, catalog), *others[10:]])
        assert failures == ["in the middle"]
        assert catalog.row("SELECT count(*) FROM names") == (20,)


async def test_changes_happen_in_the_order_asked_for(tmp_path: Path) -> None:
    seen: list[int] = []
    async with open_catalog(tmp_path / "c") as catalog, trio.open_nursery() as nursery:
        for index in range(600):
            nursery.start_soon(catalog.write, lambda _, index=index: seen.append(index))
            await trio.lowlevel.checkpoint()
    assert seen == sorted(seen)
    assert len(seen) == 600


async def test_a_cancelled_callers_change_is_whole(tmp_path: Path) -> None:
    async with open_catalog(tmp_path / "c") as catalog:
        with trio.CancelScope() as scope:
            scope.cancel()
            await catalog.write(partial(names, 100))
        await catalog.execute(INSERT, "other", "x", b"")
        assert catalog.row("SELECT count(*) FROM names WHERE tag = 'music'") in [(0,), (100,)]


async def test_what_was_asked_for_before_the_end_is_written(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery, open_catalog(tmp_path / "c") as catalog:
        nursery.start_soon(catalog.write, partial(names, 100))
        await trio.testing.wait_all_tasks_blocked()
    async with open_catalog(tmp_path / "c") as catalog:
        assert catalog.row("SELECT count(*) FROM names") == (100,)
    with pytest.raises(CatalogError):
        await catalog.write(partial(names, 1))


async def make(path: Path) -> None:
    async with open_catalog(path) as catalog:
        await catalog.write(partial(names, 20_000))


def overwrite_head(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xa5" * 20_000
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [overwrite_head, cut_in_half, overwrite_middle])
async def test_a_damaged_catalogue_is_set_aside_and_built_anew(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "catalog.sqlite"
    await make(path)
    damage(path)
    async with open_catalog(path) as catalog:
        assert catalog.rows("SELECT * FROM names") == []
        await catalog.write(partial(names, 5))
    assert (tmp_path / "catalog.sqlite.damaged").exists()
    async with open_catalog(path) as catalog:
        assert catalog.row("SELECT count(*) FROM names") == (5,)


async def test_a_catalogue_of_a_newer_p2pfs_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c"
    await make(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UsageError, match="another p2pfs"):
        async with open_catalog(path):
            pass
    assert not path.with_name("c.damaged").exists()


async def test_a_folder_in_its_place_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(CatalogError):
        async with open_catalog(tmp_path):
            pass


async def test_a_full_disk_is_said_to_be_full_and_undoes_the_change(tmp_path: Path) -> None:
    def little(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")

    async with open_catalog(tmp_path / "c") as catalog:
        await catalog.write(little)
        with pytest.raises(NoSpaceError):
            await catalog.write(partial(names, 20_000))
        assert catalog.rows("SELECT * FROM names") == []
        await catalog.write(partial(names, 3))
        assert catalog.row("SELECT count(*) FROM names") == (3,)


async def test_a_wrong_statement_is_a_mistake_and_not_the_disks(tmp_path: Path) -> None:
    async with open_catalog(tmp_path / "c") as catalog:
        with pytest.raises(sqlite3.OperationalError):
            catalog.rows("SELECT nothing FROM nowhere")
        with pytest.raises(CatalogError):
            catalog.rows("DELETE FROM names")  # the reading connection only reads


async def test_a_disk_that_fails_at_the_start_costs_no_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk has no room for SQLite's shared memory, which it calls an I/O error."""
    path = tmp_path / "c"
    async with open_catalog(path) as catalog:
        await catalog.execute(INSERT, "music", "song.mp3", b"cid")

    def fail(_connection: sqlite3.Connection, _path: Path) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    with monkeypatch.context() as full, pytest.raises(CatalogError):
        full.setattr(catalog_module, "_make_sound", fail)
        async with open_catalog(path):
            pass
    async with open_catalog(path) as catalog:
        assert catalog.row("SELECT cid FROM names") == (b"cid",)
    assert not path.with_name("c.damaged").exists()
