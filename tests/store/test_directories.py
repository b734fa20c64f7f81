"""Blocks of directories are counted, go as files go, and stay as long as they are needed."""

from __future__ import annotations

from pathlib import Path

from p2pfs.content.cid import Cid
from p2pfs.content.directory import build_directory
from p2pfs.store.pins import Pins
from p2pfs.store.room import Limits
from tests.content.dags import Dag
from tests.store.kit import Store, content_of, fetch, nodes_of, open_store, small_dag


def folder_of(*names: str) -> tuple[Cid, bytes]:
    built = build_directory([(name, small_dag(content_of(9)).root, 9) for name in names])
    return built.cid, built.block


async def keep(store: Store, *names: str) -> tuple[Cid, int]:
    cid, block = folder_of(*names)
    await store.objects.directories.keep(cid, [(cid, block)])
    return cid, len(block)


def is_here(store: Store, cid: Cid) -> bool:
    return store.dags.block(cid) is not None


async def test_they_are_counted_also_after_a_restart(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        sizes = [(await keep(store, name))[1] for name in ("a", "b")]
        assert store.objects.used_bytes() == sum(sizes)
    async with open_store(tmp_path) as store:
        assert store.objects.used_bytes() == sum(sizes)
        assert await store.objects.room.evict_all() == sum(sizes)
        assert store.catalog.row("SELECT count(*) FROM roots") == (0,)


async def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    size = len(folder_of("a")[1])
    async with open_store(tmp_path, limits=Limits(5 * size // 2)) as store:
        first, _ = await keep(store, "a")
        second, _ = await keep(store, "b")
        store.objects.usage.touch(first)
        third, _ = await keep(store, "c")
        await store.objects.room.make()
        assert [is_here(store, cid) for cid in (first, second, third)] == [True, False, True]


async def directory_with_file(store: Store) -> tuple[Cid, Dag, bytes]:
    """One that was listed, so that the file's root lies with it, and the file, which was read."""
    content = content_of(5_000)
    dag = small_dag(content)
    built = build_directory([("file", dag.root, dag.size)])
    root = next(node for node in nodes_of(dag) if node[0] == dag.root)
    await store.objects.directories.keep(built.cid, [(built.cid, built.block), root])
    opened = store.objects.open(dag.root, dag.size)
    await opened.keep_nodes([node for node in nodes_of(dag) if node != root])
    store.objects.close(opened)
    return built.cid, dag, content


async def test_a_directory_stays_as_long_as_a_file_in_it_needs_its_blocks(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        folder, dag, content = await directory_with_file(store)
        opened = store.objects.open(dag.root, dag.size)
        opened.write(0, content)
        opened.landed(0, dag.size)
        store.objects.close(opened)
        await store.objects.save()
        assert store.objects.directories.is_needed(folder)
        await store.objects.room.evict_all()
        assert store.objects.used_bytes() == 0
        assert store.catalog.row("SELECT count(*) FROM nodes") == (0,)


async def test_a_directory_stays_as_long_as_it_or_something_in_it_is_pinned(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        folder, dag, _ = await directory_with_file(store)
        other, _ = await keep(store, "other")
        pins = Pins(store.catalog)
        await pins.add(dag.root, [(dag.root, dag.size)])
        await pins.add(other, [(other, 0)])
        await store.objects.room.evict_all()
        assert is_here(store, folder)
        assert is_here(store, other)
        assert await pins.remove(dag.root)
        assert await pins.remove(other)
        await store.objects.room.evict_all()
        assert not is_here(store, folder)
        assert not is_here(store, other)


async def test_a_file_that_was_only_looked_at_counts_as_well(tmp_path: Path) -> None:
    content = content_of(5_000)
    dag = small_dag(content)
    async with open_store(tmp_path) as store:
        root = next(node for node in nodes_of(dag) if node[0] == dag.root)
        await store.objects.directories.keep(dag.root, [root])
        assert store.objects.used_bytes() == len(root[1])
        await fetch(store, dag, content)
        assert store.objects.used_bytes() == store.objects.usage.total > 4_096
