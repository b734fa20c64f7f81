"""An open content: no byte is given that was not hashed in this run."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.concurrency import all_of
from p2pfs.content.cid import block_matches
from p2pfs.errors import IntegrityError, NoSpaceError, ReadOnlyError
from p2pfs.store.errors import ShareChangedError
from p2pfs.store.object import Object
from tests.content.dags import Dag, trickle
from tests.store.kit import CHUNK_BYTES, content_of, fetch, nodes_of, open_store, publish, small_dag

CONTENT = content_of(1_000)
SIZE = len(CONTENT)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


async def read(opened: Object, start: int, length: int) -> bytes:
    return await trio.to_thread.run_sync(opened.read, start, length)


async def test_what_has_landed_is_read_without_being_hashed_again(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, SIZE)
        assert opened.read_nowait(0, 1) is None
        with pytest.raises(IntegrityError):
            opened.read(0, 1)
        opened.write(0, CONTENT)
        with pytest.raises(IntegrityError):
            opened.read(0, 1)  # written is not landed
        opened.landed(0, SIZE)
        assert opened.read_nowait(10, 500) in (CONTENT[10:510], None)
        assert opened.read(10, 500) == CONTENT[10:510]
        assert opened.read(0, 0) == b""
        store.objects.close(opened)


@pytest.mark.parametrize("layout", [small_dag, trickle])
async def test_what_was_fetched_in_an_earlier_run_is_hashed_before_it_is_read(
    layout: Callable[[bytes], Dag], tmp_path: Path
) -> None:
    dag = layout(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, SIZE)
        assert opened.present.covers(0, SIZE)
        assert not opened.checked
        assert opened.read_nowait(0, 1) is None
        await opened.check(100, 101)
        assert opened.checked.covers(100, 101)
        assert opened.checked.total() < SIZE / 2
        await opened.check(0, SIZE)
        assert await read(opened, 0, SIZE) == CONTENT
        store.objects.close(opened)


@pytest.mark.parametrize("layout", [small_dag, trickle])
@settings(max_examples=15, deadline=None)
@given(at=st.integers(0, SIZE - 1))
def test_a_flipped_bit_costs_its_leaf_and_is_never_read(
    layout: Callable[[bytes], Dag], at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dag, home = layout(CONTENT), tmp_path_factory.mktemp("flip")

    async def run() -> None:
        async with open_store(home) as store:
            await fetch(store, dag, CONTENT)
        flip(store.objects.path(dag.root), at)
        async with open_store(home) as store:
            opened = store.objects.open(dag.root, SIZE)
            await opened.check(0, SIZE)
            (wrong,) = opened.present.gaps(0, SIZE)
            assert wrong[0] <= at < wrong[1]
            assert opened.present == opened.checked
            with pytest.raises(IntegrityError):
                opened.read(at, 1)
            for start, stop in opened.present:
                assert opened.read(start, stop - start) == CONTENT[start:stop]
            opened.write(wrong[0], CONTENT[slice(*wrong)])
            opened.landed(*wrong)
            assert opened.read(0, SIZE) == CONTENT
            store.objects.close(opened)

    trio.run(run)


async def test_each_leaf_is_hashed_once_however_many_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
    hashed = []

    def counted(cid: object, block: bytes) -> bool:
        hashed.append(cid)
        return block_matches(cid, block)  # type: ignore[arg-type]

    monkeypatch.setattr("p2pfs.store.object.block_matches", counted)
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, SIZE)
        await all_of(partial(opened.check, start, SIZE) for start in range(0, SIZE, 100))
        store.objects.close(opened)
        again = store.objects.open(dag.root, SIZE)
        await again.check(0, SIZE)
        store.objects.close(again)
        await store.objects.save()  # lets it go
        later = store.objects.open(dag.root, SIZE)
        assert later is not opened
        await later.check(0, SIZE)
        store.objects.close(later)
    assert len(hashed) == len(set(hashed)) == -(-SIZE // CHUNK_BYTES)


async def test_part_of_a_leaf_counts_for_nothing(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
        opened = store.objects.open(dag.root, SIZE)
        opened.forget(70, 75)
        assert opened.read_nowait(70, 1) is None
        await opened.check(0, SIZE)  # all else is checked, and stays
        assert opened.present.gaps(0, SIZE) == [(70, 75)]
        opened.checked.remove(0, SIZE)
        await opened.check(0, SIZE)
        assert opened.present.gaps(0, SIZE) == [(64, 128)]
        store.objects.close(opened)


async def test_content_under_unknown_nodes_is_forgotten(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
        await store.objects.save()
        await store.catalog.execute("DELETE FROM nodes")
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, SIZE)
        await opened.check(0, SIZE)
        assert not opened.present
        store.objects.close(opened)


async def test_a_block_that_lands_while_the_old_one_is_hashed_stays(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
    flip(store.objects.path(dag.root), 0)
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, SIZE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened.check, 0, CHUNK_BYTES)
            await trio.lowlevel.checkpoint()
            opened.landed(0, CHUNK_BYTES)
        assert opened.present.covers(0, SIZE)
        store.objects.close(opened)


async def test_a_share_is_read_in_place_and_hashed_once(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "a", CONTENT)
        opened = store.objects.open(dag.root, SIZE)
        assert opened.is_share
        assert opened.present.covers(0, SIZE)
        assert opened.read_nowait(0, 10) is None
        await opened.check(0, SIZE)
        assert opened.read_nowait(0, 10) in (CONTENT[:10], None)
        assert opened.read(0, SIZE) == CONTENT
        with pytest.raises(ReadOnlyError):
            opened.write(0, b"x")
        store.objects.close(opened)
        again = store.objects.open(dag.root, SIZE)
        assert again.checked.covers(0, SIZE)  # the file has not been written to since
        store.objects.close(again)
        assert store.objects.cached() == []
        assert not store.objects.path(dag.root).exists()


async def test_a_share_that_changes_gives_nothing_more(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "a", CONTENT)
        opened = store.objects.open(dag.root, SIZE)
        await opened.check(0, SIZE)
        (store.folder / "a").write_bytes(b"x" * SIZE)
        with pytest.raises(ShareChangedError):
            opened.read_nowait(0, 10)
        with pytest.raises(ShareChangedError):
            opened.read(0, 10)
        other = store.objects.open(dag.root, SIZE)
        assert not other.is_share
        assert not other.present
        store.objects.close(other)
        store.objects.close(opened)


async def test_a_removed_share_gives_nothing_more(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "a", CONTENT)
        opened = store.objects.open(dag.root, SIZE)
        await opened.check(0, SIZE)
        (store.folder / "a").unlink()
        with pytest.raises(ShareChangedError):
            opened.read(0, 10)
        store.objects.close(opened)


async def test_a_share_with_wrong_bytes_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "a", CONTENT)
        before = (store.folder / "a").stat()
        flip(store.folder / "a", 500)
        os.utime(store.folder / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
        opened = store.objects.open(dag.root, SIZE)
        with pytest.raises(ShareChangedError):
            await opened.check(0, SIZE)
        assert opened.present.covers(0, SIZE)
        assert opened.read_nowait(500, 1) is None
        store.objects.close(opened)


async def test_nothing_is_written_beyond_the_end(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, SIZE)
        with pytest.raises(IntegrityError):
            opened.write(SIZE - 1, b"ab")
        store.objects.close(opened)


async def test_a_content_too_large_for_the_disk_is_no_space(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        opened = store.objects.open(dag.root, 2**62)
        await opened.keep_nodes(nodes_of(dag))
        with pytest.raises(NoSpaceError):
            opened.write(0, b"ab")
        store.objects.close(opened)


async def test_a_file_closed_while_a_thread_reads_is_closed_after_it(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT)
        opened = store.objects.open(dag.root, SIZE)
        descriptor = opened._file._descriptor
        assert descriptor is not None
        with descriptor as number:
            store.objects.close(opened)
            await store.objects.save()
            assert os.pread(number, 10, 0) == CONTENT[:10]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
