"""The cache stays within its limits, and takes nothing away that somebody uses or wants kept."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import trio

from p2pfs.store import room as room_module
from p2pfs.store.errors import CatalogError
from p2pfs.store.holes import BLOCK_BYTES
from p2pfs.store.pins import Pins
from p2pfs.store.room import Limits, limits_of
from tests.content.dags import Dag, balanced
from tests.store.kit import Store, content_of, nodes_of, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from p2pfs.store.object import Object

CHUNK = 64 << 10
MIB = 1 << 20
SIZE = 4 * MIB


def file_of(seed: int, size: int = SIZE) -> tuple[Dag, bytes]:
    content = random.Random(seed).randbytes(size)
    return balanced(content, CHUNK, width=16), content


def on_disk(store: Store) -> int:
    folder = store.objects.path(file_of(0, 1)[0].root).parent.parent
    return sum(
        os.stat(os.path.join(where, name)).st_blocks * 512
        for where, _, names in os.walk(folder)
        for name in names
    )


async def bring(store: Store, held: Object, content: bytes, start: int, stop: int) -> None:
    """As a reader's run does."""
    room = store.objects.room
    with held.presence.lease(start, stop), room.claim(stop - start) as claim:
        await room.force()
        for leaf in list(held.leaves(start, stop)):
            await trio.to_thread.run_sync(held.write, leaf.start, content[leaf.start : leaf.stop])
            held.landed(leaf.start, leaf.stop)
            claim.landed(leaf.stop - leaf.start)


async def opened(store: Store, dag: Dag) -> Object:
    held = store.objects.open(dag.root, dag.size)
    await held.keep_nodes(nodes_of(dag))
    return held


async def fetch_whole(store: Store, seed: int) -> Dag:
    dag, content = file_of(seed)
    held = await opened(store, dag)
    await bring(store, held, content, 0, dag.size)
    store.objects.close(held)
    await store.objects.save()
    return dag


async def test_the_longest_unused_goes_first_whole_and_with_its_rows(tmp_path: Path) -> None:
    async with open_store(tmp_path, limits=Limits(10 * MIB)) as store:
        first, second = await fetch_whole(store, 1), await fetch_whole(store, 2)
        store.objects.close(store.objects.open(first.root, SIZE))  # used again
        await store.objects.save()
        third = await fetch_whole(store, 3)
        assert {held.cid for held in store.objects.cached()} == {first.root, third.root}
        assert not store.objects.path(second.root).exists()
        assert on_disk(store) == store.objects.used_bytes() <= 10 * MIB
        for rows in (
            "SELECT count(DISTINCT root) FROM nodes",
            "SELECT count(DISTINCT root) FROM chunks",
            "SELECT count(*) FROM objects",
            "SELECT count(*) FROM roots",
        ):
            assert store.catalog.rows(rows) == [(2,)], rows


async def test_of_an_open_content_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    dag, content = file_of(1, 8 * MIB)
    async with open_store(tmp_path, limits=Limits(5 * MIB)) as store:
        held = await opened(store, dag)
        for start in range(0, dag.size, MIB):
            await bring(store, held, content, start, start + MIB)
            assert on_disk(store) <= 5 * MIB
            assert held.present.covers(start, start + MIB)
        assert not held.present.overlaps(0, 3 * MIB)
        assert held.present.covers(4 * MIB, dag.size)
        assert on_disk(store) == store.objects.used_bytes()
        for start, stop in held.checked:
            assert held.read(start, stop - start) == content[start:stop]
        store.objects.close(held)


async def test_what_is_leased_or_pinned_stays_whatever_is_needed(tmp_path: Path) -> None:
    dag, content = file_of(1)
    async with open_store(tmp_path, limits=Limits(5 * MIB)) as store:
        kept = await fetch_whole(store, 2)
        await Pins(store.catalog).add(kept.root, [(kept.root, SIZE)])
        held = await opened(store, dag)
        with held.presence.lease(0, MIB):
            await bring(store, held, content, 0, MIB)
            await bring(store, held, content, 2 * MIB, 3 * MIB)  # a reader waits: past the quota
            assert held.present.covers(0, MIB)
            with store.objects.room.claim(MIB):
                assert not await store.objects.room.make()
        assert store.objects.held(kept.root) is not None
        store.objects.close(held)


async def test_what_a_reader_will_want_next_goes_last_and_leaves_its_window(tmp_path: Path) -> None:
    dag, content = file_of(1)
    async with open_store(tmp_path, limits=Limits(2 * MIB + CHUNK)) as store:
        held = await opened(store, dag)
        held.presence.windows["reader"] = ((0, 2 * MIB),)
        await bring(store, held, content, 0, 2 * MIB)
        with store.objects.room.claim(MIB):
            assert not await store.objects.room.make()
            assert held.present.covers(0, 2 * MIB)
        await bring(store, held, content, 3 * MIB, 4 * MIB)
        assert not held.present.overlaps(0, MIB)
        assert held.presence.windows == {"reader": ((MIB, 2 * MIB),)}
        store.objects.close(held)


async def test_what_was_written_and_never_landed_is_given_back(tmp_path: Path) -> None:
    dag, content = file_of(1)
    async with open_store(tmp_path) as store:
        held = await opened(store, dag)
        with held.presence.lease(0, SIZE):
            held.write(0, content)
            held.landed(0, CHUNK)
            held.abandon([(0, SIZE)])
            await held.punch()
            assert on_disk(store) >= SIZE  # somebody else may be at it
        await held.punch()
        assert on_disk(store) == CHUNK
        assert held.read(0, CHUNK) == content[:CHUNK]
        store.objects.close(held)


async def test_leaves_that_share_a_block_of_the_disk_go_one_by_one(tmp_path: Path) -> None:
    content = content_of(100_000)
    dag = balanced(content, 1_000, width=8)
    async with open_store(tmp_path) as store:
        held = await opened(store, dag)
        await bring(store, held, content, 0, dag.size)
        for start in range(0, dag.size, 1_000):
            held.forget(start, start + 1_000)
            await held.punch()
            for begin, stop in held.present:
                assert held.read(begin, stop - begin) == content[begin:stop]
            assert on_disk(store) == store.objects.used_bytes()
        assert on_disk(store) == 0
        store.objects.close(held)


@contextmanager
def a_disk_with(free: int, room: object) -> Iterator[None]:
    """Set the floor so that this much is free above it."""
    disk = os.statvfs(room._folder)  # type: ignore[attr-defined]
    room._min_free = disk.f_bavail * disk.f_frsize - free  # type: ignore[attr-defined]
    yield
    room._min_free = 0  # type: ignore[attr-defined]


async def test_the_cache_shrinks_when_its_disk_fills_up(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for seed in range(3):
            await fetch_whole(store, seed)
        with a_disk_with(-5 * MIB, store.objects.room):  # others have taken what is to be free
            await store.objects.room.look()
            await store.objects.room.make()
        assert store.objects.used_bytes() <= 2 * SIZE
        assert store.objects.used_bytes() > 0


async def test_a_catalogue_that_cannot_be_read_for_a_moment_keeps_the_cache_no_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Pins) -> NoReturn:
        raise CatalogError("disk I/O error")

    monkeypatch.setattr(room_module, "_LOOK_SECONDS", 0.02)
    async with open_store(tmp_path) as store:
        await fetch_whole(store, 0)
        await store.objects.save()
        store.objects.room.quota = 0
        async with trio.open_nursery() as nursery:
            with monkeypatch.context() as broken:
                broken.setattr(Pins, "contents", refuse)
                nursery.start_soon(store.objects.room.keep)
                await trio.sleep(0.1)
            with trio.fail_after(5):
                while store.objects.room.used_bytes:  # noqa: ASYNC110 nothing tells
                    await trio.sleep(0.02)
            nursery.cancel_scope.cancel()


async def test_a_full_disk_costs_the_cache_as_much_as_is_needed(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert not await store.objects.room.free(MIB)  # nothing is there to go
        for seed in range(2):
            await fetch_whole(store, seed)
        assert await store.objects.room.free(MIB)
        assert store.objects.used_bytes() == SIZE


def test_without_a_size_it_is_a_tenth_of_the_disk(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    assert limits_of(tmp_path, None, 7) == Limits(disk.f_blocks * disk.f_frsize // 10, 7)
    assert limits_of(tmp_path, 1_000, 7) == Limits(1_000, 7)
    assert BLOCK_BYTES % 512 == 0
