"""Nodes: kept whole or as frames, and hashed whenever they come from disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pfs.content.cid import DAG_PB, cid_of, cid_v0_of
from p2pfs.content.directory import build_directory
from p2pfs.errors import MalformedError
from p2pfs.store.dags import Dags
from tests.content.dags import file_block, trickle
from tests.store.kit import content_of, nodes_of, open_store, publish, small_dag

CONTENT = content_of(1_000)


async def test_nodes_are_known_at_once_and_after_a_restart(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        assert store.dags.node(dag.root) is None
        await store.dags.keep_fetched(dag.root, nodes_of(dag))
        assert store.dags.node(dag.root) == dag.lookup(dag.root)
    async with open_store(tmp_path) as store:
        for cid, block in nodes_of(dag):
            assert store.dags.node(cid) == dag.lookup(cid)
            assert store.dags.block(cid) == block
            assert store.dags.roots_of(cid) == [dag.root]
        assert store.dags.is_fetched(dag.root)


async def test_a_block_that_is_not_its_cids_is_refused(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    (cid, _), (_, block) = nodes_of(dag)[:2]
    async with open_store(tmp_path) as store:
        with pytest.raises(MalformedError):
            await store.dags.keep_fetched(dag.root, [(cid, block)])
        assert store.dags.node(cid) is None


async def test_a_node_that_rotted_on_disk_is_not_known(tmp_path: Path) -> None:
    dag = small_dag(CONTENT)
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(dag.root, nodes_of(dag))
        other = file_block(b"", [])
        await store.catalog.execute("UPDATE nodes SET block = ?", other)
        fresh = Dags(store.catalog)
        assert fresh.node(dag.root) is None
        assert fresh.block(dag.root) is None


async def test_of_a_leaf_in_a_frame_only_the_frame_is_kept(tmp_path: Path) -> None:
    own = b"moving pictures" * 100
    block = file_block(own, [])
    cid = cid_of(DAG_PB, block)
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(cid, [(cid, block)])
        fresh = Dags(store.catalog)
        (kept,) = store.catalog.row("SELECT block FROM nodes") or ()
        assert len(kept) == len(block) - len(own)
        assert fresh.node(cid) == store.dags.node(cid)
        frame = fresh.frame(cid)
        assert frame is not None
        assert frame.around(own) == block
        assert fresh.block(cid) is None  # it is not served


async def test_a_forged_frame_leads_nowhere(tmp_path: Path) -> None:
    own = b"moving pictures"
    block = file_block(own, [])
    cid = cid_of(DAG_PB, block)
    forged = file_block(own, [(cid, 10)])
    at = forged.index(own)
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(cid, [(cid, block)])
        await store.catalog.execute(
            "UPDATE nodes SET block = ?, content_at = ?", forged.replace(own, b""), at
        )
        assert Dags(store.catalog).node(cid) is None


async def test_nodes_with_content_and_parts_are_kept_whole(tmp_path: Path) -> None:
    dag = trickle(CONTENT)
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(dag.root, nodes_of(dag))
        fresh = Dags(store.catalog)
        root = fresh.node(dag.root)
        assert root is not None
        assert root.children
        assert fresh.block(dag.root) == dag.blocks[dag.root]
        frame = fresh.frame(dag.root)
        assert frame is not None
        assert frame.around(CONTENT[: root.data_size]) == dag.blocks[dag.root]


async def test_a_fetched_directory_is_kept_by_its_own_cid(tmp_path: Path) -> None:
    cid, block, *_ = build_directory([("a", cid_of(DAG_PB, b""), 5)])
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(cid, [(cid, block)])
        assert store.dags.block(cid) == block
        assert store.dags.node(cid) is None  # it is not a file


async def test_versions_of_a_cid_are_one_content(tmp_path: Path) -> None:
    block = file_block(b"", [])
    async with open_store(tmp_path) as store:
        await store.dags.keep_fetched(cid_v0_of(block), [(cid_v0_of(block), block)])
        assert store.dags.block(cid_of(DAG_PB, block)) == block
        assert store.dags.is_fetched(cid_of(DAG_PB, block))


async def test_what_is_shared_and_fetched_outlives_the_share(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        dag = await publish(store, "a", CONTENT)
        assert not store.dags.is_fetched(dag.root)
        await store.dags.keep_fetched(dag.root, nodes_of(dag))
        await store.shares.remove(b"a")
        assert store.dags.block(dag.root) is not None
