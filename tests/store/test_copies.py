"""Leaves that two contents share are found in either, and read only if they are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from p2pfs.content.cid import RAW, Cid
from p2pfs.errors import NotFoundError
from p2pfs.store.copies import Copies
from tests.content.dags import Dag
from tests.store.kit import CHUNK_BYTES, Store, content_of, fetch, open_store, publish, small_dag

CONTENT = content_of(10 * CHUNK_BYTES)
# The same chunks with others before and after.
OTHER = content_of(3 * CHUNK_BYTES, seed=2) + CONTENT[: 6 * CHUNK_BYTES] + b"the end"
WANTED = small_dag(OTHER)
SHARED = {CONTENT[at : at + CHUNK_BYTES] for at in range(0, 6 * CHUNK_BYTES, CHUNK_BYTES)}


def raw_leaves(dag: Dag) -> set[Cid]:
    return {cid for cid in dag.blocks if cid.codec == RAW}


def copies_of(store: Store) -> Copies:
    return Copies(store.dags, store.shares, store.objects, store.changed.append)


async def put_share(store: Store) -> None:
    await publish(store, "a/song.mp3", CONTENT)


async def put_cached(store: Store) -> None:
    await fetch(store, small_dag(CONTENT), CONTENT)
    await store.objects.save()


@pytest.mark.parametrize("put", [put_share, put_cached])
async def test_leaves_of_another_content_are_found_and_read(
    put: Callable[..., object], tmp_path: Path
) -> None:
    async with open_store(tmp_path, seeds=lambda _: False) as store:
        copies = copies_of(store)
        assert await copies.find(raw_leaves(WANTED), WANTED.root) == set()
        await put(store)  # type: ignore[misc]
        found = await copies.find(raw_leaves(WANTED), WANTED.root)
        assert {WANTED.blocks[cid] for cid in found} == SHARED
        for cid in found:
            assert await copies.size(cid) == CHUNK_BYTES
            assert await copies.read(cid) == WANTED.blocks[cid]


async def test_a_content_is_not_looked_for_in_itself(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await put_cached(store)
        assert await copies_of(store).find(raw_leaves(dag), dag.root) == set()
        await publish(store, "twin", CONTENT + b"more")
        assert await copies_of(store).find(raw_leaves(dag), dag.root) == raw_leaves(dag)


async def test_a_share_that_has_changed_gives_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put_share(store)
        (store.folder / "a" / "song.mp3").write_bytes(CONTENT[::-1])
        copies = copies_of(store)
        for cid in await copies.find(raw_leaves(WANTED), WANTED.root):
            with pytest.raises(NotFoundError):
                await copies.read(cid)
        assert b"a/song.mp3" in store.changed


async def test_a_lookup_that_is_given_up_harms_nobody(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await put_share(store)
        copies = copies_of(store)
        for _ in range(20):
            with trio.move_on_after(0):
                await copies.find(raw_leaves(WANTED), WANTED.root)
        assert len(await copies.find(raw_leaves(WANTED), WANTED.root)) == len(SHARED)
