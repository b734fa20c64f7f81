from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.repairing import Lifetime, Region, Repair, pull, region_of, spread_out
from p2pfs.dht.kad.table import Table
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.recordpages import MAX_NAMED, encode_named, encode_names, parse_named
from p2pfs.errors import MalformedError
from tests.dht.kad.nodes import contact
from tests.samples import NOW, meta, verified_tags

if TYPE_CHECKING:
    from p2pfs.dht.kad.server import Server
    from p2pfs.dht.subjects import Subject

EVERYTHING = Region(bytes(20), 0)
ids = st.binary(min_size=20, max_size=20)


@given(ids, st.integers(0, 160), ids)
def test_a_region_is_the_keys_that_begin_alike(near: bytes, bits: int, key: bytes) -> None:
    region = Region(near, bits)
    alike = (int.from_bytes(near, "big") ^ int.from_bytes(key, "big")) >> (160 - bits) == 0
    assert (region.first <= key <= region.last) is alike
    assert region.first <= near <= region.last


def test_a_region_reaches_to_the_kth_contact() -> None:
    own = contact(0).node_id
    others = sorted(
        (contact(number) for number in range(1, 100)),
        key=lambda each: int.from_bytes(each.node_id, "big") ^ int.from_bytes(own, "big"),
    )[:20]
    region = region_of(own, others, 20)
    assert all(region.first <= each.node_id <= region.last for each in others)
    assert region.bits > 0
    assert region_of(own, others[:19], 20) == Region(own, 0)


def test_the_three_compared_with_are_of_different_parts_of_the_region() -> None:
    own = contact(0).node_id
    others = sorted(
        (contact(number) for number in range(1, 200)),
        key=lambda each: int.from_bytes(each.node_id, "big") ^ int.from_bytes(own, "big"),
    )[:20]
    for seed in range(20):
        chosen = spread_out(own, others, random.Random(seed))
        sizes = [(int.from_bytes(each.node_id, "big") ^ int.from_bytes(own, "big")).bit_length()
                 for each in chosen]  # fmt: skip
        assert len(set(sizes)) == 3
        assert sizes == sorted(sizes, reverse=True)
    assert len(spread_out(own, others[:2], random.Random(1))) == 2
    assert spread_out(own, [], random.Random(1)) == ()


def test_the_shorter_neighbours_live_the_oftener_they_are_compared_with() -> None:
    stable, restless = Lifetime(), Lifetime()
    everybody = frozenset(bytes([number]) for number in range(20))
    for minute in range(60):
        stable.watch(everybody, everybody, minute * 60.0)
        newcomers = frozenset(bytes([minute, number]) for number in range(20))
        restless.watch(newcomers, newcomers, minute * 60.0)
    assert stable.pause == 3_600
    assert restless.pause == 60
    assert restless.seconds < 120


def test_whoever_is_only_farther_than_a_newcomer_has_not_left() -> None:
    lifetime = Lifetime()
    lifetime.watch(frozenset({b"a"}), frozenset({b"a"}), 0)
    lifetime.watch(frozenset({b"b"}), frozenset({b"a", b"b"}), 3_600)
    assert lifetime.seconds == 240 + 3_600


def test_whoever_has_just_come_compares_again_at_once_and_then_less_often() -> None:
    lifetime, everybody = Lifetime(), frozenset(bytes([number]) for number in range(20))
    pauses, now = [], 0.0
    for _ in range(4):
        lifetime.watch(everybody, everybody, now)
        pauses.append(lifetime.pause)
        now += lifetime.pause
    assert pauses == [60, 360, 2_160, 3_600]


@dataclass
class Neighbour:
    """A store, and what has been asked of it."""

    store: MemoryRecordStore
    own: MemoryRecordStore = field(default_factory=MemoryRecordStore)
    batches: int = 0

    async def names(self, region: Region, cursor: bytes) -> bytes:
        page = self.store.names(region.first, region.last, cursor, NOW)
        return encode_names(page.names, page.next)

    async def named(self, names: Sequence[bytes]) -> bytes:
        self.batches += 1
        return encode_named(self.store.named(names, NOW))

    async def missing(self, names: Sequence[bytes]) -> list[bytes]:
        return self.own.absent(names, NOW)

    async def take(self, encoded: bytes) -> int:
        by_name = {
            record.subject.key: record
            for record, _ in self.store.named(self.store.names(*_ALL, b"", NOW).names, NOW)
        }
        taken = [by_name[subject.key] for subject, _, _ in parse_named(encoded)]
        self.own.put_all(taken, "127.0.0.1", NOW)
        return len(taken)


_ALL = (EVERYTHING.first, EVERYTHING.last)


async def test_what_is_missing_is_fetched_once() -> None:
    neighbour = Neighbour(MemoryRecordStore())
    records = verified_tags(meta())
    neighbour.store.put_all(records, "8.8.8.8", NOW)
    assert await pull(neighbour, EVERYTHING) == len(records)
    assert neighbour.batches == 1
    assert await pull(neighbour, EVERYTHING) == 0
    assert neighbour.batches == 1


async def test_names_that_were_not_asked_for_end_it() -> None:
    neighbour = Neighbour(MemoryRecordStore())
    neighbour.store.put_all(verified_tags(meta()), "8.8.8.8", NOW)

    class Liar(Neighbour):
        async def names(self, _: Region, cursor: bytes) -> bytes:
            return await super().names(EVERYTHING, cursor)

    with pytest.raises(MalformedError):
        await pull(Liar(neighbour.store), Region(bytes(20), 40))


async def test_a_neighbour_whose_pages_do_not_get_on_ends() -> None:
    class Endless(Neighbour):
        asked = 0

        async def names(self, _: Region, _cursor: bytes) -> bytes:
            Endless.asked += 1
            return encode_names((), b"again")

    assert await pull(Endless(MemoryRecordStore()), EVERYTHING) == 0
    assert Endless.asked == 2


async def test_many_names_are_compared_in_parts() -> None:
    class Talker(Neighbour):
        most = 0

        async def names(self, _: Region, _cursor: bytes) -> bytes:
            return encode_names([number.to_bytes(28, "big") for number in range(5_000)], None)

        async def missing(self, names: Sequence[bytes]) -> list[bytes]:
            Talker.most = max(Talker.most, len(names))
            return []

    assert await pull(Talker(MemoryRecordStore()), EVERYTHING) == 0
    assert Talker.most == MAX_NAMED


def test_more_records_than_one_may_ask_for_are_refused() -> None:
    (record, *_) = verified_tags(meta())
    with pytest.raises(MalformedError):
        parse_named(encode_named([(record, "8.8.8.8")] * (MAX_NAMED + 1)))


def test_of_what_neighbours_have_a_node_takes_what_it_is_among_the_eight_closest_to() -> None:
    own, others = contact(0).node_id, [contact(number) for number in range(1, 30)]
    table, taken = Table(own, lambda _: True), list[bytes]()
    for each in others:
        assert table.admit(each, 0)

    def belongs(key: bytes) -> bool:
        return sum(distance(each.node_id, key) < distance(own, key) for each in others) < 8

    def take_repaired(subject: Subject, *_: object) -> bool:
        taken.append(subject.key)
        return True

    server = SimpleNamespace(
        table=table,
        settings=SimpleNamespace(records=MemoryRecordStore()),
        desk=SimpleNamespace(take_repaired=take_repaired),
        now=lambda: NOW,
    )
    repair, records = Repair(cast("Server", server)), verified_tags(meta())
    mine = [each.subject.key for each in records if belongs(each.subject.key)]
    assert 0 < len(mine) < len(records)
    names = [each.subject.key + bytes(8) for each in records]
    assert [name[:20] for name in repair.missing(names)] == mine
    told = encode_named((each, "8.8.8.8") for each in records)
    assert asyncio.run(repair.take(told, "8.8.8.8")) == len(mine)
    assert taken == mine


async def test_a_neighbour_without_end_is_cut_off() -> None:
    class Endless(Neighbour):
        asked = 0

        async def names(self, _: Region, _cursor: bytes) -> bytes:
            Endless.asked += 1
            return encode_names((), b"%09d" % Endless.asked)

    assert await pull(Endless(MemoryRecordStore()), EVERYTHING) == 0
    assert Endless.asked == 128
