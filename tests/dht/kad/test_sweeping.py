"""Contents announced in bulk: who gets which record, and that each can be found after."""

from __future__ import annotations

import hashlib
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import Cid, raw_cid
from p2pfs.dht.kad.contacts import Contact, distance
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.kad.sweeping import Group, find_groups, groups_in
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.overlay import Provider
from p2pfs.dht.recordpages import parse_batch
from p2pfs.dht.records import CHUNK_COPIES, MAX_MULTIHASHES, Subject, provider_subject
from tests.dht.kad.nodes import (
    LOOPBACK,
    contact,
    expiry,
    identity,
    no_page,
    open_node,
    wait_until,
)

if TYPE_CHECKING:
    from p2pfs.dht.kad.server import Server

K = 20


def cid_of_chunk(number: int) -> Cid:
    return raw_cid(hashlib.sha256(b"chunk %d" % number).digest())


def chunks(count: int) -> list[bytes]:
    """Multihashes in the order of their keys."""
    made = [cid_of_chunk(number).multihash for number in range(count)]
    return sorted(made, key=lambda each: provider_subject(each).key)


def closest(nodes: list[Contact], key: bytes, count: int) -> list[Contact]:
    return sorted(nodes, key=lambda each: distance(each.node_id, key))[:count]


@given(st.integers(0, 300), st.integers(1, 400), st.integers(0, 2**32))
def test_every_content_is_sent_to_nodes_that_its_readers_ask(
    size: int, count: int, seed: int
) -> None:
    dice = random.Random(seed)
    nodes = [contact(dice.randrange(2**32)) for _ in range(size)]
    subjects = [provider_subject(each) for each in chunks(count)]
    centre = subjects[0].key
    groups = groups_in(centre, closest(nodes, centre, K), K, subjects)
    swept = [subject for group in groups for subject in group.subjects]
    assert swept == subjects[: len(swept)]
    if size < K:
        assert len(swept) == count
    for group in groups:
        assert len(group.subjects) <= MAX_MULTIHASHES
        assert len(group.holders) == min(CHUNK_COPIES, size)
        for subject in group.subjects:
            assert set(group.holders) <= set(closest(nodes, subject.key, K))


def test_one_lookup_serves_many_neighbours() -> None:
    nodes = [contact(number) for number in range(1_000)]
    subjects = [provider_subject(each) for each in chunks(20_000)]
    left, lookups, records = subjects, 0, 0
    while left:
        centre = left[0].key
        groups = groups_in(centre, closest(nodes, centre, K), K, left)
        done: list[Subject] = [subject for group in groups for subject in group.subjects]
        left, lookups, records = left[max(1, len(done)) :], lookups + 1, records + len(groups)
    assert lookups < 400
    assert records < 20_000 / 6


@dataclass
class Found:
    """What a finder has found, of a network that it takes to have nodes as far as `reach`."""

    nodes: list[Contact]
    is_over: bool = True
    reach: int | None = None
    suspects: bool = False

    @property
    def finder(self) -> Found:
        return self

    @property
    def estimate(self) -> Found:
        return self

    @property
    def settings(self) -> Found:
        return self

    k = K

    async def lookup(self, _: bytes) -> Found:
        return self

    def closest(self) -> list[Contact]:
        return self.nodes[: self.k]

    def is_suspect(self, _key: bytes, _closest: list[Contact]) -> bool:
        return self.suspects

    async def holders(self, _key: bytes, _count: int) -> list[Contact]:
        return self.nodes


async def groups_of(found: Found) -> list[Group]:
    return await find_groups(cast("Server", found), SUBJECTS)


SUBJECTS = [provider_subject(each) for each in chunks(100)]
FEW = [contact(number) for number in range(10)]


async def test_a_few_nodes_are_all_there_are_only_in_a_small_network() -> None:
    assert sum(len(group.subjects) for group in await groups_of(Found(FEW))) == 100
    for some in (Found(FEW, reach=1 << 150), Found(FEW, is_over=False)):
        [group] = await groups_of(some)
        assert (group.subjects, len(group.holders)) == ((SUBJECTS[0],), CHUNK_COPIES)
    assert await groups_of(Found([])) == []


async def test_where_ids_were_made_for_a_key_everybody_around_it_is_told() -> None:
    many = closest([contact(number) for number in range(1_000)], SUBJECTS[0].key, 60)
    [group] = await groups_of(Found(many, suspects=True))
    assert (group.subjects, len(group.holders)) == ((SUBJECTS[0],), 60)


async def test_what_was_swept_is_found_and_several_share_a_record() -> None:
    overlays: dict[bytes, KadOverlay] = {}
    batches: list[int] = []

    async def post(key: bytes, _address: Endpoint, batch: bytes) -> int:
        batches.append(len(parse_batch(batch)))
        return await overlays[key].accept(batch, LOOPBACK)

    keys = [identity() for _ in range(3)]
    stores = [MemoryRecordStore() for _ in keys]
    async with (
        open_node(own=keys[0], store=stores[0], post_records=post) as (first, address),
        open_node(address, own=keys[1], store=stores[1], post_records=post) as (second, _),
        AsyncExitStack() as later,
    ):
        await wait_until(lambda: len(first.contacts()) == len(second.contacts()) == 1)
        third, _ = await later.enter_async_context(
            open_node(address, own=keys[2], store=stores[2], fetch_page=no_page)
        )
        overlays |= {
            own.public_key: overlay
            for own, overlay in zip(keys, (first, second, third), strict=True)
        }
        await wait_until(lambda: all(len(each.contacts()) == 2 for each in overlays.values()))
        multihashes = chunks(100)
        swept = await first.sweep(multihashes, expiry())
        assert (swept.contents, swept.held) == (100, 100)
        assert stores[1].usage().values == 7  # 16 at most in each
        for number in (0, 50, 99):
            found: list[Provider] = []
            await third.providers(cid_of_chunk(number), found.append)
            assert {each.public_key for each in found} == {keys[0].public_key}
    assert batches == [100, 100]
