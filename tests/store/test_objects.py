"""The cache's account: a hint that may be old, never a lie that is read."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content.cid import RAW, Cid
from p2pfs.content.intervals import Intervals
from p2pfs.errors import MalformedError, NoSpaceError
from p2pfs.store.accounts import decoded
from p2pfs.store.catalog import Catalog
from p2pfs.store.errors import ShareChangedError
from p2pfs.store.holes import BLOCK_BYTES, punch
from p2pfs.store.objects import Objects
from tests.content.dags import Dag, balanced
from tests.store.kit import content_of, fetch, nodes_of, open_store, publish, small_dag

T = TypeVar("T")

CONTENT = content_of(1_000)
SIZE = len(CONTENT)


async def test_all_who_open_a_content_get_one_object(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        first = store.objects.open(dag.root, SIZE)
        second = store.objects.open(dag.root, SIZE)
        assert first is second
        store.objects.close(first)
        first.write(0, CONTENT)
        first.landed(0, SIZE)
        store.objects.close(second)
        assert store.objects.open(dag.root, SIZE) is first  # it lingers until it is saved


async def test_the_cache_is_listed_and_counted(tmp_path: Path) -> None:
    first, second = small_dag(CONTENT), small_dag(CONTENT[1:])
    async with open_store(tmp_path) as store:
        assert store.objects.cached() == []
        await fetch(store, first, CONTENT)
        await fetch(store, second, CONTENT[1:], 0, 64)
        await store.objects.save()
        held = {item.cid: (item.size, item.present_bytes) for item in store.objects.cached()}
        assert held == {first.root: (SIZE, SIZE), second.root: (SIZE - 1, 64)}
        assert store.objects.used_bytes() == 2 * BLOCK_BYTES  # what a small file takes as well
        assert all(item.used > 1_000_000_000 for item in store.objects.cached())
        file = store.objects.path(second.root).stat()
        assert file.st_size == SIZE - 1
        path = store.objects.path(first.root)
        assert path.parts[-3:] == ("objects", str(first.root)[-3:-1], str(first.root))


async def test_what_is_held_is_known_before_it_is_saved(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        assert store.objects.held(dag.root) is None
        await fetch(store, dag, CONTENT, 0, 64)
        assert store.objects.held(dag.root) == (SIZE, Intervals([(0, 64)]))
        await store.objects.save()
        assert store.objects.held(dag.root) == (SIZE, Intervals([(0, 64)]))


async def test_a_cache_that_somebody_emptied_is_empty(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
    shutil.rmtree(tmp_path / "cache")
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, SIZE)
        assert not opened.present
        opened.write(0, CONTENT[:64])
        opened.landed(0, 64)
        assert opened.read(0, 64) == CONTENT[:64]
        store.objects.close(opened)
        await store.objects.save()
        assert saved_bytes(store.catalog) == 64


async def test_a_cached_file_that_was_cut_is_not_used(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
    store.objects.path(dag.root).write_bytes(b"short")
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, SIZE)
        assert not opened.present
        opened.write(0, CONTENT)
        opened.landed(0, SIZE)
        assert opened.read(0, SIZE) == CONTENT
        store.objects.close(opened)


async def test_a_file_written_to_behind_our_back_is_hashed_again(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
        await store.objects.save()
        store.objects.path(dag.root).write_bytes(b"x" * SIZE)
        opened = store.objects.open(dag.root, SIZE)
        assert not opened.checked
        await opened.check(0, SIZE)
        assert not opened.present
        store.objects.close(opened)


async def test_a_wrong_size_gets_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
        liar = store.objects.open(dag.root, SIZE + 1)
        assert not liar.present
        with pytest.raises(MalformedError):
            list(liar.leaves(0, SIZE + 1))
        store.objects.close(liar)
        await store.objects.save()
        opened = store.objects.open(dag.root, SIZE)
        assert opened.read(0, SIZE) == CONTENT
        store.objects.close(opened)


class FullCatalog(Catalog):
    """A catalogue on a disk that is full until `full` is false."""

    full = True

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        if self.full:
            raise NoSpaceError("full")
        return await super().write(change)


async def test_a_catalogue_in_trouble_does_not_stop_reading(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(dag.root, nodes_of(dag))
        catalog = FullCatalog(store.catalog._reader, store.catalog._writer, store.catalog._seeker)
        objects = Objects(tmp_path / "cache", catalog, store.dags, store.shares)
        opened = objects.open(dag.root, SIZE)
        opened.write(0, CONTENT)
        opened.landed(0, SIZE)
        objects.close(opened)
        await objects.save()  # is logged
        assert opened.read(0, SIZE) == CONTENT
        catalog.full = False
        await objects.save()
        assert saved_bytes(catalog) == SIZE
        assert len(store.dags.places(a_leaf(dag))) == 1


def saved_bytes(catalog: Catalog) -> int:
    (found,) = catalog.rows("SELECT sum(present_bytes) FROM objects")
    return int(found[0] or 0)


def a_leaf(dag: Dag) -> Cid:
    return next(cid for cid in dag.blocks if cid.codec == RAW)


async def test_the_account_is_saved_while_the_node_runs(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
        await trio.sleep(6)
        await store.catalog.execute("SELECT 1")  # comes after what was asked for before
        assert saved_bytes(store.catalog) == SIZE


async def test_an_empty_content_is_whole(tmp_path: Path) -> None:
    dag = balanced(b"")
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, 0)
        await opened.check(0, 0)
        assert opened.read_nowait(0, 0) == b""
        assert opened.read(0, 0) == b""
        store.objects.close(opened)
        await publish(store, "empty", b"")
        shared = store.objects.open(dag.root, 0)
        assert shared.read(0, 0) == b""
        store.objects.close(shared)


@settings(max_examples=50)
@given(encoded=st.binary(max_size=40))
def test_a_damaged_account_says_nothing(encoded: bytes) -> None:
    present = decoded(encoded, 100)
    assert not present.overlaps(100, 1 << 62)


async def test_a_share_whose_mtime_was_put_back_is_hashed_again(tmp_path: Path) -> None:
    """As taggers do that preserve the times of what they write to."""
    content = content_of(1_000)
    async with open_store(tmp_path) as store:
        dag = await publish(store, "song.mp3", content)
        opened = store.objects.open(dag.root, dag.size)
        await opened.check(0, 1_000)
        assert opened.read(0, 1_000) == content
        file = store.folder / "song.mp3"
        before = file.stat()
        with file.open("r+b") as song:
            song.write(b"TAG")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(ShareChangedError):
            opened.read(0, 1_000)
        opened.look_again()
        assert not opened.checked
        with pytest.raises(ShareChangedError):
            await opened.check(0, 1_000)
        store.objects.close(opened)


async def test_a_share_that_was_renamed_is_read_on(tmp_path: Path) -> None:
    content = content_of(1_000)
    async with open_store(tmp_path) as store:
        dag = await publish(store, "song.mp3", content)
        opened = store.objects.open(dag.root, dag.size)
        await opened.check(0, 1_000)
        (store.folder / "song.mp3").rename(store.folder / "other.mp3")
        opened.look_again()
        await opened.check(0, 1_000)
        assert opened.read(0, 1_000) == content
        store.objects.close(opened)


async def test_an_account_that_says_more_than_lies_on_the_disk_is_corrected(
    tmp_path: Path,
) -> None:
    """As a kill leaves it between the hole and the account."""
    content = bytes(range(256)) * 4_096
    dag = balanced(content, 256 * 1024)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, content)
        path = store.objects.path(dag.root)
    with path.open("r+b") as file:
        punch(file.fileno(), 0, 256 * 1024)
    async with open_store(tmp_path) as store:
        assert store.objects.held(dag.root) == (dag.size, Intervals([(256 * 1024, dag.size)]))
        assert store.objects.used_bytes() == dag.size - 256 * 1024
    with path.open("r+b") as file:
        punch(file.fileno(), 0, dag.size)
    async with open_store(tmp_path) as store:
        assert store.objects.held(dag.root) is None
        assert store.objects.used_bytes() == 0
