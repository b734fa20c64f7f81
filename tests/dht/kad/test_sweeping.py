"""Contents announced in bulk: who gets which record, and that each can be found after."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import Cid, raw_cid
from p2pfs.dht.kad.contacts import Contact, distance
from p2pfs.dht.kad.estimate import SizeEstimate
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.kad.sweeping import Group, find_groups, find_region, groups_in, groups_in_crowd
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.overlay import Provider
from p2pfs.dht.recordpages import parse_batch
from p2pfs.dht.records import MAX_MULTIHASHES
from p2pfs.dht.subjects import CHUNK_COPIES, Subject, provider_subject
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
    from p2pfs.dht.kad.sweeping import IsSuspect

K = 20


def cid_of_chunk(number: int) -> Cid:
    return raw_cid(hashlib.sha256(b"chunk %d" % number).digest())


def chunks(count: int) -> list[bytes]:
    """Multihashes in the order of their keys."""
    made = [cid_of_chunk(number).multihash for number in range(count)]
    return sorted(made, key=lambda each: provider_subject(each).key)


def closest(nodes: list[Contact], key: bytes, count: int) -> list[Contact]:
    return sorted(nodes, key=lambda each: distance(each.node_id, key))[:count]


def nobody(_key: bytes, _closest: Sequence[Contact]) -> bool:
    """Has made ids for a key."""
    return False


@given(st.integers(0, 300), st.integers(1, 400), st.integers(0, 2**32))
def test_every_content_is_sent_to_nodes_that_its_readers_ask(
    size: int, count: int, seed: int
) -> None:
    dice = random.Random(seed)
    nodes = [contact(dice.randrange(2**32)) for _ in range(size)]
    subjects = [provider_subject(each) for each in chunks(count)]
    centre = subjects[0].key
    groups = groups_in(centre, closest(nodes, centre, K), K, subjects, nobody)
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
        groups = groups_in(centre, closest(nodes, centre, K), K, left, nobody)
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
    asked: int = 60

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

    async def whole_region(self, _: Found) -> list[Contact]:
        return self.nodes


async def groups_of(found: Found) -> list[Group]:
    return list((await find_region(cast("Server", found), SUBJECTS)).groups)


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
    [group] = await groups_of(Found(many, reach=1 << 140, suspects=True))
    assert (group.subjects, len(group.holders)) == ((SUBJECTS[0],), 60)


@dataclass
class Everybody(Found):
    """A finder that knows all nodes."""

    key: bytes = b""

    async def lookup(self, key: bytes) -> Found:
        return Everybody(self.nodes, key=key)

    def closest(self) -> list[Contact]:
        return closest(self.nodes, self.key, self.k)


async def test_regions_beside_each_other_are_served_together() -> None:
    subjects = [provider_subject(each) for each in chunks(20_000)]
    finder = cast("Server", Everybody([contact(number) for number in range(1_000)]))
    served = await find_groups(finder, subjects)
    assert served.subjects == subjects[: len(served.subjects)]
    left, alone = subjects, 0
    for _ in range(4):
        region = await find_region(finder, left)
        alone += len({holder for group in region.groups for holder in group.holders})
        left = left[len(region.subjects) :]
    assert len(served.subjects) == len(subjects) - len(left)
    assert served.requests == 4 * 60
    together = {holder for group in served.groups for holder in group.holders}
    assert len(together) < 0.8 * alone
    assert (await find_groups(finder, subjects[:5])).requests == 60
    nobody_there = await find_groups(cast("Server", Found([])), subjects)
    assert (nobody_there.groups, nobody_there.requests) == ((), 60)


def _ground(key: bytes, count: int) -> list[Contact]:
    """Nodes whose ids somebody has made for a key."""
    ids = (
        (int.from_bytes(key, "big") ^ 1 << number).to_bytes(20, "big") for number in range(count)
    )
    return [
        msgspec.structs.replace(contact(5_000 + at), node_id=each) for at, each in enumerate(ids)
    ]


def test_a_content_that_ids_were_made_for_is_not_swept_with_its_neighbours() -> None:
    honest = [contact(number) for number in range(1_000)]
    subjects = [provider_subject(each) for each in chunks(20_000)]
    estimate, centre = SizeEstimate(K), subjects[0].key
    for each in subjects[::400]:
        estimate.found(each.key, closest(honest, each.key, K), K)

    def is_lost(victim: Subject, is_suspect: IsSuspect) -> bool:
        crowd = _ground(victim.key, 8)
        around = closest(honest + crowd, centre, K)
        groups = groups_in(centre, around, K, subjects, is_suspect)
        return any(victim in each.subjects and set(each.holders) <= set(crowd) for each in groups)

    victims = subjects[:200:5]
    assert any(is_lost(victim, nobody) for victim in victims)
    assert not any(is_lost(victim, estimate.is_suspect) for victim in victims)


def test_all_of_a_region_hold_what_ids_were_made_for_and_its_crowded_neighbours() -> None:
    honest = [contact(number) for number in range(1_000)]
    subjects = [provider_subject(each) for each in chunks(20_000)]
    reach = distance(closest(honest, subjects[0].key, K)[-1].node_id, subjects[0].key)
    region = closest(honest, subjects[0].key, K) + _ground(subjects[0].key, 20)
    groups = groups_in_crowd(region, reach, subjects, lambda key, _: key < subjects[40].key)
    assert [subject for group in groups for subject in group.subjects] == subjects[:40]
    assert all(set(group.holders) == set(region) for group in groups)
    assert all(len(group.subjects) <= MAX_MULTIHASHES for group in groups)
    far = groups_in_crowd(region, reach, subjects, lambda *_: True)
    last = far[-1].subjects[-1]
    assert 2 * distance(last.key, subjects[0].key) <= reach
    assert [*groups_in_crowd(region, reach, subjects, nobody)] == [
        Group((subjects[0],), tuple(region))
    ]


def _swept(groups: Sequence[Group]) -> list[Subject]:
    return [subject for group in groups for subject in group.subjects]


async def test_what_was_swept_is_found_and_several_share_a_record() -> None:
    overlays: dict[bytes, KadOverlay] = {}
    batches: list[int] = []

    async def post(key: bytes, _address: Endpoint, batch: bytes) -> list[bool]:
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
        assert (swept.contents, swept.refused) == (100, ())
        assert swept.requests >= 2 + 2  # of a lookup, and of batches
        assert stores[1].usage().values == 7  # 16 at most in each
        for number in (0, 50, 99):
            found: list[Provider] = []
            await third.providers(cid_of_chunk(number), found.append)
            assert {each.public_key for each in found} == {keys[0].public_key}
    assert batches == [100, 100]


async def test_what_nobody_takes_is_told() -> None:
    async def refuse(_key: bytes, _address: Endpoint, batch: bytes) -> list[bool]:
        rows = [subject for subject, _ in parse_batch(batch)]
        return [subject == provider_subject(multihashes[7]) for subject in rows]

    multihashes = chunks(30)
    async with (
        open_node(post_records=refuse) as (first, address),
        open_node(address) as (second, _),
    ):
        await wait_until(lambda: len(first.contacts()) == len(second.contacts()) == 1)
        swept = await first.sweep(multihashes, expiry())
    assert swept.contents == 30
    assert swept.refused == (*multihashes[:7], *multihashes[8:])
