"""What others may have: intact shares, and what was fetched; nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pfs.content.car import CarReader, encode_header
from p2pfs.content.cid import DAG_PB, RAW, Cid, block_matches, cid_of, parse_cid
from p2pfs.content.directory import build_directory
from p2pfs.errors import NotFoundError
from p2pfs.store.errors import ShareChangedError
from p2pfs.store.share import ShareState
from tests.content.dags import Dag, file_block, trickle, wants
from tests.store.kit import (
    CHUNK_BYTES,
    Store,
    content_of,
    fetch,
    nodes_of,
    open_store,
    publish,
    share_of,
    small_dag,
)

CONTENT = content_of(1_000)
SIZE = len(CONTENT)
PROBE = parse_cid("bafkqaaa")


async def car(store: Store, root: Cid, start: int = 0, stop: int | None = None) -> list[Cid]:
    """The blocks of a CAR in their order, after each was checked against its CID."""
    plan = await store.blocks.plan(root, start, stop)
    reader = CarReader()
    found = list(reader.feed(encode_header(root)))
    size = 0
    async for batch in store.blocks.read_pieces(plan):
        size += len(batch)
        found += [(cid, memoryview(bytes(block))) for cid, block in reader.feed(bytes(batch))]
    reader.close()
    assert size == plan.section_bytes
    assert all(block_matches(cid, block) for cid, block in found)
    return [cid for cid, _ in found]


async def put_share(store: Store) -> Dag:
    return await publish(store, "a/song.mp3", CONTENT)


async def put_cached(store: Store) -> Dag:
    dag = small_dag(CONTENT)
    await fetch(store, dag, CONTENT)
    await store.objects.save()
    return dag


@pytest.mark.parametrize("put", [put_share, put_cached])
async def test_every_block_may_be_had_alone(put: Callable[..., object], tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put(store)  # type: ignore[misc]
        for cid, block in dag.blocks.items():
            assert await store.blocks.held(cid) == len(block)
            assert await store.blocks.read(cid) == block
        assert store.blocks.root_size(dag.root) == SIZE


@pytest.mark.parametrize("put", [put_share, put_cached])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, SIZE), (70, 71), (500, 900), (5, 5)])
async def test_a_range_may_be_had_as_a_car(
    put: Callable[..., object], start: int, stop: int | None, tmp_path: Path
) -> None:
    async with open_store(tmp_path) as store:
        dag = await put(store)  # type: ignore[misc]
        expected = [want.cid for want in wants(dag, start, stop)]
        assert await car(store, dag.root, start, stop) == expected
    async with open_store(tmp_path) as store:  # after a restart as well
        assert await car(store, dag.root, start, stop) == expected


async def test_a_content_of_one_block_is_a_car_of_one_block(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for name, content in (("small", b"moving pictures"), ("empty", b"")):
            dag = await publish(store, name, content)
            assert dag.root.codec == RAW
            assert await car(store, dag.root) == [dag.root]
            assert await store.blocks.read(dag.root) == content
        fetched = small_dag(b"other")
        await fetch(store, fetched, b"other")
        assert await store.blocks.read(fetched.root) == b"other"  # even before it is saved


async def test_a_block_that_is_no_root_is_a_car_of_itself(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        for cid in dag.blocks:
            if cid != dag.root:
                assert await car(store, cid) == [cid]


async def test_what_a_cid_carries_is_here_and_in_no_car(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        assert await store.blocks.held(PROBE) == 0
        assert await store.blocks.read(PROBE) == b""
        assert await car(store, PROBE) == []


async def test_what_is_unknown_is_not_found(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for cid in (cid_of(RAW, b"nothing"), cid_of(DAG_PB, b"nothing")):
            assert await store.blocks.held(cid) is None
            with pytest.raises(NotFoundError):
                await store.blocks.read(cid)
            with pytest.raises(NotFoundError):
                await store.blocks.plan(cid)


async def test_files_that_were_not_published_are_not_found(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        (store.folder / "secret").write_bytes(b"not yours")
        assert await store.blocks.held(cid_of(RAW, b"not yours")) is None


def is_nowhere(dag: Dag) -> Callable[[Store], object]:
    async def check(store: Store) -> None:
        for cid in dag.blocks:
            assert await store.blocks.held(cid) is None
            with pytest.raises(NotFoundError):
                await store.blocks.read(cid)
        with pytest.raises(NotFoundError):
            await store.blocks.plan(dag.root)

    return check


async def test_a_changed_share_is_not_served_at_once(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        plan = await store.blocks.plan(dag.root)
        (store.folder / "a/song.mp3").write_bytes(b"x" * SIZE)
        with pytest.raises(ShareChangedError):
            async for _ in store.blocks.read_pieces(plan):
                pass
        assert store.changed[-1] == b"a/song.mp3"
        await is_nowhere(dag)(store)  # type: ignore[misc]


async def test_a_share_that_changes_in_the_middle_is_cut(tmp_path: Path) -> None:
    content = content_of(3_000_000)
    async with open_store(tmp_path) as store:
        await publish(store, "big", content[:10])
        dag = await publish_big(store, content)
        batches = store.blocks.read_pieces(await store.blocks.plan(dag.root))
        await anext(batches)
        with (store.folder / "big").open("r+b") as file:
            file.write(b"x")
        with pytest.raises(ShareChangedError):
            await anext(batches)
        assert store.changed == [b"big"]


async def publish_big(store: Store, content: bytes) -> Dag:
    from tests.content.dags import balanced

    (store.folder / "big").write_bytes(content)
    dag = balanced(content, 262_144, 174)
    await store.shares.put(share_of(store, "big", dag, content), nodes_of(dag))
    return dag


async def test_a_removed_share_is_not_served_at_once(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        await store.shares.remove(b"a/song.mp3")  # the file may still be there
        await is_nowhere(dag)(store)  # type: ignore[misc]


async def test_a_share_put_aside_is_not_served(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        await store.shares.set_state(b"a/song.mp3", ShareState.IGNORED, "hidden")
        await is_nowhere(dag)(store)  # type: ignore[misc]


async def test_a_link_in_a_shares_place_is_not_followed(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        file = store.folder / "a/song.mp3"
        file.rename(tmp_path / "outside")  # the very same inode
        file.symlink_to(tmp_path / "outside")
        await is_nowhere(dag)(store)  # type: ignore[misc]


async def test_a_twin_answers_for_a_share_that_changed(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        await publish(store, "twin", CONTENT)
        (store.folder / "a/song.mp3").unlink()
        assert await car(store, dag.root) == [want.cid for want in wants(dag, 0, None)]
        assert set(store.changed) == {b"a/song.mp3"}


async def test_a_share_whose_bytes_rotted_is_reported(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        file = store.folder / "a/song.mp3"
        before = file.stat()
        file.write_bytes(b"x" * SIZE)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        leaf = next(cid for cid in dag.blocks if cid.codec == RAW)
        with pytest.raises(NotFoundError):
            await store.blocks.read(leaf)
        assert store.changed == [b"a/song.mp3"]


async def test_of_a_share_in_doubt_only_right_blocks_are_given(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        file = store.folder / "a/song.mp3"
        before = file.stat()
        file.chmod(0o600)  # moves the ctime as a write does
        assert await car(store, dag.root) == [want.cid for want in wants(dag, 0, None)]
        assert store.changed == []
        with file.open("r+b") as opened:
            opened.seek(SIZE - 1)
            opened.write(bytes([CONTENT[-1] ^ 1]))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert await car(store, dag.root, 0, 64) == [want.cid for want in wants(dag, 0, 64)]
        with pytest.raises(NotFoundError):
            await car(store, dag.root)
        assert set(store.changed) == {b"a/song.mp3"}


async def test_of_what_was_fetched_in_part_the_part_is_served(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await fetch(store, dag, CONTENT, 0, 300)
        await store.objects.save()
        assert await car(store, dag.root, 10, 290)
        for span in ((0, None), (290, 400), (900, 901)):
            with pytest.raises(NotFoundError):
                await store.blocks.plan(dag.root, *span)


async def test_what_may_be_had_of_a_file_is_told(tmp_path: Path) -> None:
    fetched, shared = small_dag(CONTENT), content_of(500, seed=2)
    async with open_store(tmp_path) as store:
        await fetch(store, fetched, CONTENT, 0, 300)
        assert list(await store.blocks.coverage(fetched.root)) == [(0, 320)]
        dag = await publish(store, "a/song.mp3", shared)
        assert list(await store.blocks.coverage(dag.root)) == [(0, 500)]
        (store.folder / "a/song.mp3").unlink()
        for root in (dag.root, cid_of(RAW, b"never seen")):
            with pytest.raises(NotFoundError):
                await store.blocks.coverage(root)


async def test_what_is_not_seeded_is_neither_told_nor_served_and_shares_are(tmp_path: Path) -> None:
    fetched, other = small_dag(CONTENT), small_dag(content_of(900, seed=3))
    async with open_store(tmp_path, seeds=lambda root: root == other.root) as store:
        await fetch(store, fetched, CONTENT)
        await fetch(store, other, content_of(900, seed=3))
        dag = await publish(store, "a/song.mp3", content_of(500, seed=2))
        await store.objects.save()
        for cid in fetched.blocks:
            with pytest.raises(NotFoundError):
                await store.blocks.read(cid)
            assert await store.blocks.held(cid) is None
        for ask in (store.blocks.coverage, store.blocks.plan):
            with pytest.raises(NotFoundError):
                await ask(fetched.root)
        assert await car(store, other.root)
        assert await car(store, dag.root)


async def test_a_wrong_byte_in_the_cache_is_not_served(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_cached(store)
    with store.objects.path(dag.root).open("r+b") as file:
        file.seek(500)
        file.write(b"xyz")
    async with open_store(tmp_path) as store:
        assert await car(store, dag.root, 0, 400)
        plan = await store.blocks.plan(dag.root)  # not known to be wrong yet
        with pytest.raises(NotFoundError):
            async for _ in store.blocks.read_pieces(plan):
                pass
        with pytest.raises(NotFoundError):
            await store.blocks.plan(dag.root)
        wrong = next(leaf.cid for leaf in store.objects.open(dag.root, SIZE).leaves(500, 501))
        with pytest.raises(NotFoundError):
            await store.blocks.read(wrong)


async def test_framed_leaves_are_neither_told_nor_served(tmp_path: Path) -> None:
    block = file_block(CONTENT[:50], [])
    cid = cid_of(DAG_PB, block)
    async with open_store(tmp_path) as store:
        await fetch(store, Dag(cid, 50, {cid: block}), CONTENT)
        assert await store.blocks.held(cid) is None
        with pytest.raises(NotFoundError):
            await store.blocks.plan(cid)
        deep = trickle(CONTENT)
        await fetch(store, deep, CONTENT)
        for root in (cid, deep.root):
            with pytest.raises(NotFoundError):
                await store.blocks.plan(root)
            with pytest.raises(NotFoundError):
                await store.blocks.coverage(root)


async def test_a_fetched_directory_is_served(tmp_path: Path) -> None:
    cid, block, *_ = build_directory([("a", cid_of(RAW, b"x"), 1)])
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(cid, [(cid, block)])
        assert await store.blocks.read(cid) == block
        assert await car(store, cid) == [cid]


async def test_shards_of_a_fetched_directory_are_served_each(tmp_path: Path) -> None:
    built = build_directory((f"{index:05}", cid_of(RAW, b"x"), 1) for index in range(6_400))
    fetched = [built.parts[0], built.parts[-1], (built.cid, built.block)]
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(built.cid, fetched)
        for cid, block in fetched:
            assert await store.blocks.read(cid) == block
        with pytest.raises(NotFoundError):
            await store.blocks.read(built.parts[1][0])


async def test_a_large_file_comes_in_batches(tmp_path: Path) -> None:
    content = content_of(3_000_000)
    async with open_store(tmp_path) as store:
        dag = await publish_big(store, content)
        plan = await store.blocks.plan(dag.root)
        sizes = [len(batch) async for batch in store.blocks.read_pieces(plan)]
        assert sum(sizes) == plan.section_bytes
        assert len(sizes) == 3
        assert max(sizes) < 1_400_000


async def test_leaves_of_a_shared_chunk_are_found_by_more_than_their_prefix(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await put_share(store)
        leaf = next(cid for cid in dag.blocks if cid.codec == RAW)
        forged = Cid(1, RAW, leaf.multihash[:10] + bytes(24))
        assert await store.blocks.held(forged) is None
        assert await store.blocks.held(leaf) == CHUNK_BYTES
