from __future__ import annotations

import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from p2pfs.content.cid import RAW, parse_cid, raw_cid
from p2pfs.content.directory import build_directory
from p2pfs.content.unixfs import FileNode, parse_block
from p2pfs.errors import IntegrityError, MalformedError, NoPeersError, NotFoundError, P2pfsError
from p2pfs.identity import OwnKey
from p2pfs.library.reading import Kind, Reading
from p2pfs.library.sources import Sources
from p2pfs.store.catalog import open_catalog
from p2pfs.store.copies import Copies
from p2pfs.store.dags import Dags
from p2pfs.store.objects import open_objects
from p2pfs.store.shares import Shares
from p2pfs.store.usage import Usage
from tests.content.dags import Dag, balanced
from tests.transfer.fakes import (
    KIB,
    MIB,
    FakeClient,
    FakeCopies,
    FakeObject,
    FakeOverlay,
    FakePeer,
    FakeRoom,
    file_of,
    providers,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from p2pfs.content.cid import Cid

OWN_KEY = b"o" * 32


class FakeStore:
    """Objects, nodes and shares in memory, of the files it was told of."""

    def __init__(self, *dags: Dag) -> None:
        self.objects = {dag.root: FakeObject(dag) for dag in dags}
        self.room = FakeRoom()
        self.directories, self.usage = self, Usage()
        self.open_now: list[Cid] = []
        self.blocks: dict[Cid, bytes] = {}

    def open(self, cid: Cid, size: int) -> FakeObject:
        assert size == self.objects[cid].size
        self.open_now.append(cid)
        return self.objects[cid]

    def close(self, held: FakeObject) -> None:
        self.open_now.remove(held.cid)

    def held(self, cid: Cid) -> tuple[int, object] | None:
        held = self.objects.get(cid)
        return (held.size, held.present) if held is not None and held.present else None

    def cached(self) -> list[object]:
        return []

    def by_cid(self, _cid: Cid) -> list[object]:
        return []

    def node(self, cid: Cid) -> FileNode | None:
        block = self.blocks.get(cid)
        node = None if block is None else parse_block(cid, block)
        return node if isinstance(node, FileNode) else None

    def block(self, cid: Cid) -> bytes | None:
        return self.blocks.get(cid)

    async def keep(self, _root: Cid, nodes: list[tuple[Cid, bytes]]) -> None:
        await trio.lowlevel.checkpoint()
        self.blocks.update(nodes)


def block_of(entries: list[tuple[str, Cid, int]]) -> tuple[Cid, bytes]:
    built = build_directory(entries)
    return built.cid, built.block


@asynccontextmanager
async def reading_of(
    client: FakeClient, *dags: Dag, overlay: FakeOverlay | None = None
) -> AsyncIterator[tuple[Reading, FakeStore]]:
    store = FakeStore(*dags)
    overlay = overlay or FakeOverlay(providers(client), seconds=0.1)
    async with trio.open_nursery() as nursery:
        sources = Sources(overlay, OwnKey(OWN_KEY))
        yield Reading(store, store, store, FakeCopies(), client, sources, nursery), store


async def test_a_file_read_through_is_right_and_its_end_is_read_ahead(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(32 * MIB)
    client = FakeClient(dag, a=FakePeer(), b=FakePeer(), c=FakePeer())
    async with reading_of(client, dag) as (reading, store):
        opened = await reading.open(dag.root, dag.size, providers(client))
        assert await opened.read(0, 1000) == content[:1000]
        await trio.sleep(1)
        assert store.objects[dag.root].checked.covers(dag.size - 1, dag.size)
        for at in range(0, dag.size, 128 * KIB):
            assert await opened.read(at, 128 * KIB) == content[at : at + 128 * KIB]
        assert await opened.read(dag.size, 5) == b""
        assert await opened.read(dag.size - 3, 50) == content[-3:]
        opened.close()
    sent = [peer.sent for peer in client.peers.values()]
    assert min(sent) > 0.2 * dag.size
    assert not store.open_now


@pytest.mark.parametrize("is_right", [True, False])
async def test_whole_content_that_differs_from_its_description_is_said(
    autojump_clock: trio.testing.MockClock, is_right: bool
) -> None:
    dag, content = file_of(3 * MIB)
    claimed = zlib.crc32(content) if is_right else 0xBAD
    client = FakeClient(dag, a=FakePeer())
    async with reading_of(client, dag) as (reading, _):
        opened = await reading.open(dag.root, dag.size, providers(client), claimed)
        assert await opened.read(0, dag.size) == content
        assert ("00000bad" in reading.last_error(dag.root)) != is_right
        opened.close()


async def test_a_mebibyte_from_the_middle_costs_less_than_six(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(64 * MIB)
    client = FakeClient(dag, a=FakePeer())
    async with reading_of(client, dag) as (reading, _):
        opened = await reading.open(dag.root, dag.size, providers(client))
        for at in range(40 * MIB, 42 * MIB, 128 * KIB):  # the kernel asks ahead as much again
            assert await opened.read(at, 128 * KIB) == content[at : at + 128 * KIB]
        await trio.sleep(5)
        opened.close()
    (peer,) = client.peers.values()
    assert peer.sent < 5 * MIB


async def test_the_first_bytes_of_a_known_file_wait_for_one_leaf_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(64 * MIB)
    client = FakeClient(dag, a=FakePeer(latency=0.15, rate=2 * MIB))
    async with reading_of(client, dag) as (reading, _):
        started = trio.current_time()
        opened = await reading.open(dag.root, dag.size, providers(client))
        await opened.read(0, 128 * KIB)
        assert trio.current_time() - started < 0.15 + 0.15
        opened.close()


async def test_closing_the_last_reader_ends_what_is_under_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(64 * MIB)
    client = FakeClient(dag, a=FakePeer(rate=MIB))
    async with reading_of(client, dag) as (reading, store):
        first = await reading.open(dag.root, dag.size, providers(client))
        second = await reading.open(dag.root, dag.size)
        await first.read(0, 3 * MIB)
        first.close()
        await trio.sleep(0.01)
        (peer,) = client.peers.values()
        assert peer.under_way
        assert [transfer.cid for transfer in reading.transfers()] == [dag.root]
        second.close()
        await trio.sleep(0.01)
        assert not peer.under_way
        assert not store.open_now
        assert not reading.transfers()


async def test_what_was_tried_can_be_asked_after_the_file_was_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client = FakeClient(dag, a=FakePeer(lies_from=0))
    async with reading_of(client, dag) as (reading, _):
        opened = await reading.open(dag.root, dag.size, providers(client))
        with pytest.raises(IntegrityError):
            await opened.read(0, 1)
        opened.close()
        assert "does not match" in reading.last_error(dag.root)
        assert "12D3Koo" in reading.last_error(dag.root)


async def test_a_file_of_unknown_size_is_looked_up_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(MIB)
    client = FakeClient(dag, a=FakePeer())
    overlay = FakeOverlay(providers(client), seconds=0.1)
    async with reading_of(client, dag, overlay=overlay) as (reading, _):
        assert (await reading.resolve(dag.root)).size == dag.size
        opened = await reading.open(dag.root)
        assert opened.size == dag.size
        assert await opened.read(5, 10) == content[5:15]
        opened.close()
    assert overlay.lookups == 1
    assert client.asked_blocks[dag.root] == 1


async def test_an_inline_file_needs_nobody(autojump_clock: trio.testing.MockClock) -> None:
    dag, _ = file_of(MIB)
    async with reading_of(FakeClient(dag)) as (reading, _):
        opened = await reading.open(parse_cid("bafkqaaa"))
        assert opened.size == 0
        opened = await reading.open(parse_cid("bafkqabtimvwgy3yk"))
        assert await opened.read(1, 3) == b"ell"
        opened.close()


async def test_a_directory_is_resolved_from_its_root_to_its_last_file(
    autojump_clock: trio.testing.MockClock,
) -> None:
    big, content = file_of(MIB)
    small = balanced(b"small", 16)
    inner_cid, inner = block_of([("big", big.root, MIB + 200)])
    outer_cid, outer = block_of(
        [("inner", inner_cid, len(inner)), ("small", small.root, small.size)]
    )
    client = FakeClient(big, a=FakePeer(), gone=FakePeer(is_gone=True))
    client.add(small)
    client.add(Dag(outer_cid, 0, {outer_cid: outer, inner_cid: inner}))
    overlay = FakeOverlay(providers(client), seconds=0.1)
    async with reading_of(client, big, overlay=overlay) as (reading, store):
        found = await reading.resolve(outer_cid, ("inner", "big"))
        assert (found.kind, found.cid, found.size) == (Kind.FILE, big.root, MIB)
        directory = await reading.resolve(outer_cid)
        children = await reading.children(directory)
        assert {name: (child.kind, child.size) for name, child in children.items()} == {
            "inner": (Kind.DIRECTORY, 0),
            "small": (Kind.FILE, 5),
        }
        with pytest.raises(NotFoundError, match="nothing"):
            await reading.resolve(outer_cid, ("nothing",))
        with pytest.raises(NotFoundError):
            await reading.resolve(outer_cid, ("small", "below"))
        with pytest.raises(NotFoundError, match="directory"):
            await reading.open(outer_cid)
        opened = await reading.open(found.cid, found.size)
        assert await opened.read(0, 5) == content[:5]
        opened.close()
        assert overlay.lookups == 1
        assert set(store.blocks) == {outer_cid, inner_cid, big.root}


def sharded(count: int, name: str = "file") -> Dag:
    """A directory beyond what fits in a block, of raw files that nobody fetches."""
    entries = [(f"{name}-{index}", raw_cid(index.to_bytes(32, "big")), 9) for index in range(count)]
    built = build_directory(entries)
    assert built.parts
    return Dag(built.cid, 0, {built.cid: built.block} | dict(built.parts))


async def test_a_path_in_a_sharded_directory_costs_only_the_shards_on_its_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    directory = sharded(6_000)
    outer_cid, outer = block_of([("many", directory.root, 0)])
    client = FakeClient(directory, a=FakePeer())
    client.add(Dag(outer_cid, 0, {outer_cid: outer}))
    overlay = FakeOverlay(providers(client), seconds=0.1)
    async with reading_of(client, overlay=overlay) as (reading, _):
        found = await reading.resolve(outer_cid, ("many", "file-77"))
        assert (found.kind, found.cid) == (Kind.FILE, raw_cid((77).to_bytes(32, "big")))
        assert 2 < sum(client.asked_blocks.values()) <= 5
        with pytest.raises(NotFoundError, match="no 'file-6000' in"):
            await reading.resolve(outer_cid, ("many", "file-6000"))
    assert overlay.lookups == 1


async def test_a_sharded_directory_is_listed_whole_and_its_shards_are_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    directory = sharded(6_000)
    client = FakeClient(directory, a=FakePeer(latency=0.05), gone=FakePeer(is_gone=True))
    overlay = FakeOverlay(providers(client), seconds=0.1)
    async with reading_of(client, overlay=overlay) as (reading, store):
        started = trio.current_time()
        folder = await reading.resolve(directory.root)
        assert folder.kind is Kind.DIRECTORY
        assert set(client.asked_blocks) == {directory.root}
        entries = await reading.entries(folder)
        assert {entry.name for entry in entries} == {f"file-{index}" for index in range(6_000)}
        assert trio.current_time() - started < 0.05 * len(directory.blocks) / 10
        assert set(client.asked_blocks.values()) == {1}
        await trio.testing.wait_all_tasks_blocked()
        assert store.blocks == directory.blocks
        children = await reading.children(folder)
        assert children["file-5"].size == 9
        assert len(children) == 6_000
        assert set(client.asked_blocks.values()) == {1}


async def test_the_roots_of_a_thousand_files_are_had_in_one_answer_and_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    files = [balanced(b"%4d" % index * 2, 4, 2) for index in range(1_000)]
    root, block = block_of([(str(i), file.root, file.size) for i, file in enumerate(files)])
    blocks = {cid: block for file in files for cid, block in file.blocks.items()}
    directory = Dag(root, 0, {root: block, **blocks})
    client = FakeClient(directory, gone=FakePeer(is_gone=True), a=FakePeer(latency=0.05))
    overlay = FakeOverlay(providers(client), seconds=0.1)
    async with reading_of(client, overlay=overlay) as (reading, store):
        children = await reading.children(await reading.resolve(root))
        assert {child.size for child in children.values()} == {8}
        assert set(client.asked_blocks) == {root}
        assert [count for count in client.asked_nodes if count] in ([1_000], [1_000] * 2)
        await trio.testing.wait_all_tasks_blocked()
        assert {file.root for file in files} < store.blocks.keys()


async def test_a_sharded_directory_with_a_shard_missing_is_an_error_and_still_has_its_files(
    autojump_clock: trio.testing.MockClock,
) -> None:
    directory = sharded(6_000)
    lost = min(directory.blocks.keys() - {directory.root}, key=str)
    client = FakeClient(
        Dag(directory.root, 0, {k: v for k, v in directory.blocks.items() if k != lost}),
        a=FakePeer(),
    )
    async with reading_of(client) as (reading, _):
        folder = await reading.resolve(directory.root)
        with pytest.raises(P2pfsError):
            await reading.children(folder)
        had = 0
        for index in range(300):
            try:
                await reading.resolve(directory.root, (f"file-{index}",))
            except P2pfsError:
                continue
            had += 1
        assert had > 280


async def test_a_part_of_a_sharded_directory_that_is_none_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    directory = sharded(6_000)
    part_cid = min(directory.blocks.keys() - {directory.root}, key=str)
    client = FakeClient(directory, a=FakePeer())
    async with reading_of(client) as (reading, _):
        with pytest.raises(MalformedError, match="hash leads"):
            await reading.children(await reading.resolve(part_cid))


async def test_a_silent_peer_does_not_hold_up_a_lookup(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client = FakeClient(dag, mute=FakePeer(is_silent=True), good=FakePeer())
    async with reading_of(client, dag) as (reading, _):
        started = trio.current_time()
        await reading.resolve(dag.root)
        assert trio.current_time() - started < 1


async def test_without_a_network_a_lookup_says_so(autojump_clock: trio.testing.MockClock) -> None:
    dag, _ = file_of(MIB)
    overlay = FakeOverlay(error=NoPeersError("nobody could be asked"))
    async with reading_of(FakeClient(dag), dag, overlay=overlay) as (reading, _):
        with pytest.raises(NoPeersError):
            await reading.resolve(dag.root)


async def test_a_raw_file_found_by_its_block_is_not_fetched_twice_and_stays(tmp_path: Path) -> None:
    block = bytes(range(256)) * 100
    dag = balanced(block, 256 * KIB)
    assert dag.root.codec == RAW
    client = FakeClient(dag, a=FakePeer())
    overlay = FakeOverlay(providers(client), seconds=0.0)
    for _ in range(2):
        async with (
            open_catalog(tmp_path / "catalog.sqlite") as catalog,
            open_objects(
                tmp_path, catalog, Dags(catalog), Shares(catalog, tmp_path / "share")
            ) as objects,
            trio.open_nursery() as nursery,
        ):
            dags, shares = Dags(catalog), Shares(catalog, tmp_path / "share")
            copies = Copies(dags, shares, objects, [].append)
            sources = Sources(overlay, OwnKey(OWN_KEY))
            reading = Reading(objects, dags, shares, copies, client, sources, nursery)
            opened = await reading.open(dag.root)
            assert await opened.read(0, 1 << 20) == block
            opened.close()
            assert reading.held(dag.root, len(block)) in {0, len(block)}
    assert client.asked_blocks[dag.root] == 1
    (peer,) = client.peers.values()
    assert not peer.requests


async def test_a_file_is_read_through_the_real_store_and_again_without_peers(
    tmp_path: Path,
) -> None:
    dag, content = file_of(8 * MIB)
    client = FakeClient(dag, a=FakePeer(rate=1e10), b=FakePeer(rate=1e10))
    overlay = FakeOverlay(providers(client), seconds=0.0)
    for attempt in range(2):
        async with (
            open_catalog(tmp_path / "catalog.sqlite") as catalog,
            trio.open_nursery() as nursery,
        ):
            dags, shares = Dags(catalog), Shares(catalog, tmp_path / "share")
            async with open_objects(tmp_path, catalog, dags, shares) as objects:
                copies = Copies(dags, shares, objects, [].append)
                sources = Sources(overlay, OwnKey(OWN_KEY))
                reading = Reading(objects, dags, shares, copies, client, sources, nursery)
                opened = await reading.open(dag.root)
                for at in range(0, dag.size, 128 * KIB):
                    assert await opened.read(at, 128 * KIB) == content[at : at + 128 * KIB]
                opened.close()
                await trio.testing.wait_all_tasks_blocked()
        if attempt == 0:
            for peer in client.peers.values():
                peer.is_gone = True
                peer.requests.clear()
    assert not any(peer.requests for peer in client.peers.values())


def test_the_inline_example_is_what_it_says() -> None:
    assert parse_cid("bafkqabtimvwgy3yk").inline == b"hello\n"
    assert raw_cid(b"x" * 32).inline is None
