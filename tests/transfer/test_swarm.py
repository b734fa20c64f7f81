from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content.intervals import Intervals
from p2pfs.dht.overlay import Provider
from p2pfs.identity import OwnKey
from p2pfs.transfer.download import Download, Means
from p2pfs.transfer.slots import Slots
from p2pfs.transfer.standing import MAX_RUN_BYTES, MIB, Standing
from p2pfs.transfer.swarm import PART_BYTES, Swarm, pieces
from tests.transfer.fakes import (
    FakeClient,
    FakeCopies,
    FakeObject,
    FakeOverlay,
    FakePeer,
    FakeRoom,
    file_of,
    providers,
)
from tests.transfer.test_download import downloading, read_through

if TYPE_CHECKING:
    import trio.testing

    from p2pfs.transfer.run import Span

SIZE = 64 * MIB


def key(number: int) -> bytes:
    return bytes([number]) * 32


def peer(number: int) -> Standing:
    return Standing(Provider(key(number), (Endpoint("127.0.0.1", 7117),)))


def reader(number: int, *held: Span, at: float = 0.0) -> Standing:
    """A peer that has told, just now, that it has got these parts."""
    found = peer(number)
    found.told(Intervals(held), SIZE, at)
    return found


def swarm(me: int, *others: Standing) -> Swarm:
    return Swarm({other.key: other for other in others}, lambda: key(me))


def ours(found: Swarm, *spans: Span, window: Span = (0, 32 * MIB), now: float = 0.0) -> Intervals:
    return Intervals(found.ours(spans, window, now))


@given(
    count=st.integers(2, 9),
    start=st.integers(0, SIZE - 1),
    length=st.integers(1, 32 * MIB),
)
def test_of_what_nobody_has_each_part_falls_to_one_of_the_readers(
    count: int, start: int, length: int
) -> None:
    span = start, min(SIZE, start + length)
    readers = [reader(number, (start, start + 1)) for number in range(count)]
    found = Intervals()
    for number in range(count):
        others = [other for other in readers if other.key != key(number)]
        # What is told here is one byte, so that nearly all is still to be brought.
        for part in swarm(number, *others).ours([span], span, 0.0):
            assert not found.overlaps(*part)
            found.add(*part)
    assert found.covers(start // PART_BYTES * PART_BYTES + PART_BYTES, span[1])


def test_each_reader_gets_its_part_of_the_work() -> None:
    readers = [reader(number, (0, 1)) for number in range(8)]
    for number in range(8):
        others = [other for other in readers if other.key != key(number)]
        mine = ours(swarm(number, *others), (MIB, SIZE))
        assert 2 * MIB <= mine.total() <= 16 * MIB  # 8 MiB each would be even


def test_all_falls_to_who_reads_alone() -> None:
    assert ours(swarm(1, peer(9)), (0, SIZE)) == Intervals([(0, SIZE)])


def test_what_another_reader_has_is_its_to_give() -> None:
    assert not ours(swarm(1, reader(2, (0, SIZE // 2))), (0, SIZE // 2))


def test_nothing_is_left_to_who_reads_elsewhere_or_has_stopped() -> None:
    whole = Intervals([(0, 8 * MIB)])
    assert ours(swarm(1, reader(2, (0, MIB))), (0, 8 * MIB)) != whole
    assert ours(swarm(1, reader(2, (40 * MIB, 41 * MIB))), (0, 8 * MIB)) == whole
    assert ours(swarm(1, reader(2, (0, MIB))), (0, 8 * MIB), now=9.0) == whole


def test_something_is_left_to_who_reads_a_little_behind() -> None:
    behind = swarm(1, reader(2, (0, MIB)))
    near, far = (8 * MIB, 16 * MIB), (24 * MIB, 32 * MIB)
    assert ours(behind, near, window=near) != Intervals([near])
    assert ours(behind, far, window=far) == Intervals([far])


def test_nothing_is_left_to_who_is_far_slower_than_the_one_with_all() -> None:
    quick, slow = peer(9), reader(2, (0, MIB))
    quick.run_bytes = MAX_RUN_BYTES
    assert ours(swarm(1, quick, slow), (0, SIZE)) == Intervals([(0, SIZE)])


def test_who_does_not_bring_what_is_left_to_it_is_left_nothing_for_ever_longer() -> None:
    window, now = (MIB, 9 * MIB), 0.0
    idle = reader(2)
    alone = swarm(1, idle)
    waits = []
    for turn in range(4):
        idle.told(Intervals([(0, turn + 1)]), SIZE, now)
        left = ours(alone, window, window=window, now=now).gaps(*window)
        alone.let_down(left[0][0], window, now)
        before = now
        while ours(alone, window, window=window, now=now) == Intervals([window]):
            now += 1.0
            idle.told(Intervals([(0, turn + 2 + int(now))]), SIZE, now)
        waits.append(now - before)
    assert waits == [0.0, 2.0, 4.0, 8.0]
    idle.landed(1)
    idle.let_down(now)
    idle.told(Intervals([(0, MIB)]), SIZE, now + 2)
    assert ours(alone, window, now=now + 2) != Intervals([window])


@given(st.lists(st.tuples(st.integers(0, SIZE), st.integers(1, SIZE)), max_size=4))
def test_spans_are_cut_into_parts_and_nothing_is_lost(spans: list[tuple[int, int]]) -> None:
    wanted = Intervals((start, start + length) for start, length in spans)
    found = list(pieces(wanted))
    assert Intervals(found) == wanted
    assert sum(stop - start for start, stop in found) == wanted.total()
    assert all(start // PART_BYTES == (stop - 1) // PART_BYTES for start, stop in found)


async def test_readers_at_the_same_place_take_little_more_than_one_copy_from_who_has_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(64 * MIB)
    names = ["a", "b", "c", "d"]
    objects = {name: FakeObject(dag) for name in names}
    source = FakePeer(rate=2 * MIB)
    async with trio.open_nursery() as nursery, trio.open_nursery() as readers:
        for name in names:
            others = {
                other: FakePeer(holds=objects[other].present) for other in names if other != name
            }
            client = FakeClient(dag, source=source, **others)
            own = OwnKey(name.encode().ljust(32, b"."))
            means = Means(  # type: ignore[arg-type]
                client, Slots(), FakeRoom(), FakeCopies(), nursery, own, FakeOverlay().of
            )
            find = partial(FakeOverlay().providers, dag.root)
            download = Download(objects[name], find, means)  # type: ignore[arg-type]
            for provider in providers(client):
                download.add_provider(provider)
            readers.start_soon(read_through, download, objects[name], content, 32 * MIB)
    assert source.sent < 1.3 * dag.size
    assert trio.current_time() < 64 / 4  # what one alone takes, with two requests at a time


async def test_who_only_says_that_it_reads_here_stalls_nobody_for_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(64 * MIB)
    parts = [Intervals() for _ in range(8)]
    boasters = {f"boaster{number}": FakePeer(holds=holds) for number, holds in enumerate(parts)}
    client = FakeClient(dag, source=FakePeer(rate=8 * MIB), **boasters)

    async def boast() -> None:
        while True:
            await trio.sleep(0.3)
            for holds in parts:
                holds.add(0, int(trio.current_time() * 1000))

    async with downloading(client, dag) as (download, held), trio.open_nursery() as nursery:
        nursery.start_soon(boast)
        await read_through(download, held, content, 32 * MIB)
        nursery.cancel_scope.cancel()
    assert trio.current_time() < 24  # 8 without them, 30 if all they do not bring were left to them
