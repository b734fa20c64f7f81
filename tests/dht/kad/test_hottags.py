"""Tags under which more is published than a key holds."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.content.metainfo import MetaInfo
from p2pfs.dht.kad import hottags
from p2pfs.dht.kad.hottags import read_shards
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.recordpages import encode_page, parse_known
from p2pfs.dht.subjects import RULES, TAG, TAG_SHARDS, parse_subject, tag_shard, tag_subject
from p2pfs.errors import NoPeersError
from tests.dht.kad.nodes import expiry, identity, meta_of, open_node, wait_until

ROWS = 6
MANY = 40
NOW = expiry() - 3600


@pytest.fixture
def small_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, TAG, replace(RULES[TAG], rows_per_key=ROWS))


class Net:
    """A few nodes that read each other's stores as if over HTTPS."""

    def __init__(self) -> None:
        self.stores: dict[bytes, MemoryRecordStore] = {}
        self.overlays: list[KadOverlay] = []
        self.told: list[int] = []

    async def fetch_page(
        self, key: bytes, _address: Endpoint, subject: bytes, _cursor: bytes, known: bytes
    ) -> bytes:
        rows = self.stores[key].rows(parse_subject(subject).key, NOW)
        unknown = [row.value for row in rows if row.digest not in parse_known(known)]
        self.told.append(len(unknown))
        return encode_page(unknown, None)


@asynccontextmanager
async def open_net(size: int) -> AsyncIterator[Net]:
    net, addresses = Net(), []
    async with AsyncExitStack() as nodes:
        for _ in range(size):
            own, store = identity(), MemoryRecordStore()
            net.stores[own.public_key] = store
            overlay, address = await nodes.enter_async_context(
                open_node(*addresses[:1], own=own, store=store, fetch_page=net.fetch_page)
            )
            addresses.append(address)
            net.overlays.append(overlay)
            others = len(net.overlays) - 1
            await wait_until(
                lambda others=others: all(len(each.contacts()) == others for each in net.overlays)
            )
        yield net


async def found_by(overlay: KadOverlay) -> set[bytes]:
    found: list[MetaInfo] = []
    await overlay.search("jazz", found.append)
    return {meta.encoded for meta in found}


async def test_all_of_a_tag_is_found_though_no_key_holds_it(small_keys: None) -> None:
    publisher = identity()
    metas = [meta_of(publisher, b"%d" % number, "jazz") for number in range(MANY)]
    async with open_net(4) as net:
        for meta in metas:
            assert await net.overlays[0].publish(meta) >= 1
        assert await found_by(net.overlays[3]) == {meta.encoded for meta in metas}
        for store in net.stores.values():
            first = store.rows(tag_subject("jazz").key, NOW)
            assert len(first) <= ROWS
            for shard in range(TAG_SHARDS):
                rows = store.rows(tag_subject("jazz", 1, shard).key, NOW)
                assert all(tag_shard(row.slot[32:]) == shard for row in rows)


async def test_the_second_level_of_a_tag_that_is_not_full_is_left_alone() -> None:
    publisher = identity()
    async with open_net(3) as net:
        metas = [meta_of(publisher, b"%d" % number, "jazz") for number in range(MANY)]
        for meta in metas:
            await net.overlays[0].publish(meta)
        assert await found_by(net.overlays[2]) == {meta.encoded for meta in metas}
        for store in net.stores.values():
            for shard in range(TAG_SHARDS):
                assert store.count(tag_subject("jazz", 1, shard).key, NOW) == 0


async def test_of_copies_one_is_read_whole_and_of_the_others_what_it_lacks() -> None:
    publisher = identity()
    async with open_net(6) as net:
        metas = [meta_of(publisher, b"%d" % number, "jazz") for number in range(MANY)]
        for meta in metas:
            await net.overlays[0].publish(meta)
        assert await found_by(net.overlays[5]) == {meta.encoded for meta in metas}
    assert sum(net.told) <= MANY


async def test_shards_are_read_in_any_order_until_there_is_enough() -> None:
    read: list[int] = []
    at_once = most = 0

    async def one(shard: int) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await trio.lowlevel.checkpoint()
        at_once -= 1
        read.append(shard)
        if shard % 2:
            raise NoPeersError("nobody there")

    await read_shards(one, lambda: False, random.Random(1))
    assert sorted(read) == sorted([*range(TAG_SHARDS), *range(1, TAG_SHARDS, 2)])  # once more
    assert read != sorted(read)
    assert most == hottags._SHARDS_AT_ONCE
    read.clear()
    await read_shards(one, lambda: len(read) >= 20, random.Random(2))
    assert 20 <= len(read) < 20 + hottags._SHARDS_AT_ONCE
