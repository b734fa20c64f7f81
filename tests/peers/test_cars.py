"""Paths and directories as a client sees them: CARs over TLS, each block checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from p2pfs.content.balanced import DEFAULT_PROFILE
from p2pfs.content.car import CarReader
from p2pfs.content.cid import DAG_PB, Cid, block_matches, cid_of, parse_cid
from p2pfs.content.dag_pb import Link
from p2pfs.content.directory import build_directory
from p2pfs.content.hamt import ROOT, Below, build_shards, find
from p2pfs.content.unixfs import ShardNode, parse_block
from p2pfs.peers import cars, contents
from tests.content.dags import balanced
from tests.peers.fakes import MemoryBlocks, gateway_of, serving

SONG = balanced(bytes(range(256)))
NOTE = balanced(b"a note")
EMPTY = build_directory([])
ALBUM = build_directory([("song", SONG.root, 300), ("note", NOTE.root, 6), ("void", EMPTY.cid, 4)])
TOP = build_directory([("album", ALBUM.cid, 500), ("copy", SONG.root, 300)])
NAMES = [f"file {number}" for number in range(300)]
SHARDS = build_shards([Link(NOTE.root, name.encode(), 6) for name in NAMES], DEFAULT_PROFILE)
LARGE = SHARDS.shards[-1][0]


def blocks_of(*, lacking: Cid | None = None) -> MemoryBlocks:
    blocks = MemoryBlocks(SONG, NOTE)
    blocks.blocks.update({each.cid: each.block for each in (EMPTY, ALBUM, TOP)})
    blocks.blocks.update(SHARDS.shards)
    if lacking is not None:
        blocks.blocks.pop(lacking)
        blocks.dags.pop(lacking, None)
    return blocks


@asynccontextmanager
async def web(blocks: MemoryBlocks | None = None) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(gateway_of(blocks or blocks_of())) as peer:
        url = f"https://{peer.addresses[0]}"
        async with httpx.AsyncClient(verify=False, trust_env=False, base_url=url) as client:  # noqa: S501
            yield client


async def blocks_at(client: httpx.AsyncClient, target: str) -> list[Cid]:
    """The blocks of a CAR, in order, each right; its length was declared."""
    joint = "&" if "?" in target else "?"
    answer = await client.get(f"/ipfs/{target}{joint}format=car")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    reader = CarReader()
    found = list(reader.feed(answer.content))
    reader.close()
    assert all(block_matches(cid, block) for cid, block in found)
    return [cid for cid, _ in found]


def all_of_song() -> list[Cid]:
    """In a CAR's order, as `walk` asks for them."""
    return [piece.cid for piece in MemoryBlocks(SONG)._pieces(SONG.root, 0, None)]


async def test_a_car_holds_the_blocks_along_the_path_and_then_the_file() -> None:
    async with web() as client:
        way = [TOP.cid, ALBUM.cid]
        assert await blocks_at(client, f"{TOP.cid}/album/song") == way + all_of_song()
        assert await blocks_at(client, f"{TOP.cid}/album/song?dag-scope=block") == [*way, SONG.root]
        first = await blocks_at(client, f"{TOP.cid}/album/song?entity-bytes=0:0")
        assert first == way + all_of_song()[: len(first) - 2]
        assert len(first) < len(all_of_song())


async def test_of_a_directory_the_scope_says_how_much() -> None:
    async with web() as client:
        for scope in ("dag-scope=block", "dag-scope=entity", "entity-bytes=0:9"):
            assert await blocks_at(client, f"{TOP.cid}?{scope}") == [TOP.cid]
        below = [ALBUM.cid, NOTE.root, *all_of_song(), EMPTY.cid]
        assert await blocks_at(client, f"{TOP.cid}?dups=n") == [TOP.cid, *below]
        assert await blocks_at(client, f"{TOP.cid}?dups=y") == [TOP.cid, *below, *all_of_song()]


async def test_a_path_through_shards_brings_those_on_the_way() -> None:
    name = next(name for name in NAMES if isinstance(find(root_shard(), ROOT, name), Below))
    below = find(root_shard(), ROOT, name)
    assert isinstance(below, Below)
    async with web() as client:
        found = await blocks_at(client, f"{LARGE}/{name}")
    assert found == [LARGE, below.cid, NOTE.root]


async def test_all_shards_are_the_entity_and_everything_in_them_is_all() -> None:
    async with web() as client:
        shards = await blocks_at(client, f"{LARGE}?dag-scope=entity")
        assert shards[0] == LARGE
        assert sorted(map(str, shards)) == sorted(str(cid) for cid, _ in SHARDS.shards)
        everything = await blocks_at(client, f"{LARGE}?dag-scope=all&dups=y")
    assert everything.count(NOTE.root) == len(NAMES)
    assert set(everything) == {*shards, NOTE.root}


def root_shard() -> ShardNode:
    node = parse_block(LARGE, SHARDS.shards[-1][1])
    assert isinstance(node, ShardNode)
    return node


async def test_a_block_at_the_end_of_a_path_comes_raw() -> None:
    async with web() as client:
        answer = await client.get(f"/ipfs/{TOP.cid}/album/note?format=raw")
        assert answer.content == b"a note"
        assert answer.headers["x-ipfs-roots"] == f"{TOP.cid},{ALBUM.cid},{NOTE.root}"
        assert answer.headers["etag"] == f'"{TOP.cid}/album/note.raw"'


@pytest.mark.parametrize("path", ["nothing", "album/nothing", "copy/song", "album/note/deeper"])
async def test_a_path_that_leads_nowhere_is_a_404(path: str) -> None:
    async with web() as client:
        for form in ("car", "raw"):
            assert (await client.get(f"/ipfs/{TOP.cid}/{path}?format={form}")).status_code == 404


@pytest.mark.parametrize("lacking", [NOTE.root, ALBUM.cid, SONG.root])
async def test_a_directory_of_which_something_is_not_here_is_a_404(lacking: Cid) -> None:
    async with web(blocks_of(lacking=lacking)) as client:
        assert (await client.get(f"/ipfs/{TOP.cid}?format=car")).status_code == 404
        assert await blocks_at(client, f"{TOP.cid}?dag-scope=entity") == [TOP.cid]


async def test_a_file_whose_root_is_known_and_nothing_more_is_a_404() -> None:
    blocks = blocks_of()
    del blocks.dags[SONG.root]
    async with web(blocks) as client:
        assert (await client.get(f"/ipfs/{TOP.cid}/copy?format=car")).status_code == 404
        assert await blocks_at(client, f"{SONG.root}?dag-scope=block") == [SONG.root]


async def test_a_directory_that_loses_a_block_in_mid_answer_is_cut() -> None:
    blocks = blocks_of()
    blocks.lost.add(all_of_song()[-1])
    async with web(blocks) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"/ipfs/{TOP.cid}?format=car")


async def test_shared_subtrees_do_not_make_endless_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cars, "_MAX_NODES", 100)
    blocks = blocks_of()
    deep = TOP
    for _ in range(30):
        deep = build_directory([("a", deep.cid, 1), ("b", deep.cid, 1)])
        blocks.blocks[deep.cid] = deep.block
    async with web(blocks) as client:
        assert (await client.get(f"/ipfs/{deep.cid}?format=car")).status_code == 400


async def test_what_is_not_here_is_a_412_for_those_who_want_it_from_a_cache() -> None:
    missing = cid_of(DAG_PB, b"missing")
    async with web() as client:
        url = f"/ipfs/{missing}?format=raw"
        answer = await client.get(url, headers={"cache-control": "only-if-cached"})
        assert answer.status_code == 412


async def test_the_probe_is_a_car_without_blocks() -> None:
    async with web() as client:
        assert await blocks_at(client, f"{parse_cid('bafkqaaa')}") == []


async def test_so_many_blocks_are_remembered_for_sending_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contents, "_MAX_DISTINCT", 3)
    async with web() as client:
        url = f"/ipfs/{SONG.root}?format=car"
        assert (await client.get(url)).status_code == 400
        assert (await client.get(f"{url}&dups=y")).status_code == 200
