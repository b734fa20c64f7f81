"""What rots is found and dropped; what nobody needs goes; a wrong CRC-32 is said."""

from __future__ import annotations

import zlib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import trio.testing

from p2pfs.library.upkeep import Upkeep
from p2pfs.store.errors import CatalogError
from tests.store.kit import Store, content_of, fetch, open_store, publish, small_dag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from p2pfs.content.cid import Cid

CONTENT = content_of(1_000)


class FakeMetas:
    """`library.metas.Metas`, of which only the CRC-32 of contents is asked."""

    def __init__(self) -> None:
        self.crc32s: set[int] = set()

    def crc32s_of(self, _cid: Cid) -> set[int]:
        return set(self.crc32s)


@asynccontextmanager
async def keeping(home: Path) -> AsyncIterator[tuple[Upkeep, Store, FakeMetas]]:
    metas = FakeMetas()
    async with open_store(home) as store:
        yield Upkeep(store.objects, store.shares, metas, store.changed.append), store, metas


def rot(file: Path, at: int) -> None:
    with file.open("r+b") as rotten:
        rotten.seek(at)
        rotten.write(bytes([CONTENT[at] ^ 1]))


async def test_a_catalogue_that_cannot_be_read_for_a_moment_ends_no_scrubbing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    looks: list[float] = []

    def refuse() -> NoReturn:
        looks.append(trio.current_time())
        raise CatalogError("disk I/O error")

    async with keeping(tmp_path) as (upkeep, store, _):
        monkeypatch.setattr(store.objects, "cached", refuse)
        with trio.move_on_after(9_000):
            await upkeep.scrub()
    assert len(looks) == 3


async def test_what_rots_while_the_node_runs_is_dropped_and_told(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with keeping(tmp_path) as (upkeep, store, _):
        await fetch(store, dag, CONTENT)
        assert (await upkeep.verify(dag.root, dag.size)).wrong == ""
        rot(store.objects.path(dag.root), 100)
        verdict = await upkeep.verify(dag.root, dag.size)
        assert verdict.wrong == "64 bytes did not match their hash"
        assert verdict.checked_bytes == dag.size - 64
        held = store.objects.held(dag.root)
        assert held is not None
        assert held[1].gaps(0, dag.size) == [(64, 128)]
        assert [one.wrong async for one in upkeep.verify_all()] == [""]


async def test_the_slow_pass_finds_it_too(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    dag = small_dag(CONTENT)
    async with keeping(tmp_path) as (upkeep, store, _):
        await fetch(store, dag, CONTENT)
        rot(store.objects.path(dag.root), 999)
        await upkeep.scrub_once()
        held = store.objects.held(dag.root)
        assert held is not None
        assert held[1].gaps(0, dag.size) == [(960, dag.size)]


async def test_a_crc32_that_is_not_the_contents_is_said(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with keeping(tmp_path) as (upkeep, store, metas):
        await fetch(store, dag, CONTENT)
        metas.crc32s = {zlib.crc32(CONTENT)}
        assert (await upkeep.verify(dag.root, dag.size)).wrong == ""
        metas.crc32s.add(0xDEADBEEF)
        assert "published deadbeef" in (await upkeep.verify(dag.root, dag.size)).wrong


async def test_a_share_that_rots_is_hashed_anew(tmp_path: Path) -> None:
    async with keeping(tmp_path) as (upkeep, store, _):
        dag = await publish(store, "a", CONTENT)
        assert (await upkeep.verify(dag.root, dag.size)).wrong == ""
        rot(store.folder / "a", 5)
        assert "not the file" in (await upkeep.verify(dag.root, dag.size)).wrong
        assert store.changed == [b"a"]


async def test_files_without_rows_and_rows_without_files_go(tmp_path: Path) -> None:
    first, second = small_dag(CONTENT), small_dag(CONTENT[1:])
    async with keeping(tmp_path) as (upkeep, store, _):
        await fetch(store, first, CONTENT)
        await fetch(store, second, CONTENT[1:])
        await store.objects.save()
        odd = store.objects.path(first.root).with_name("odd")
        odd.write_bytes(b"nobody knows")
        store.objects.path(second.root).unlink()
        freed, removed = await upkeep.collect()
        assert (freed, removed) == (4_096, 3)
        assert not odd.exists()
        assert store.objects.cached() == []
        assert store.catalog.rows("SELECT * FROM roots") == []
