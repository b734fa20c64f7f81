"""Which chunks are told of, in which order, and from where after a restart."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import cid_of
from p2pfs.content.metainfo import LIFETIME_SECONDS
from p2pfs.dht.kad.sweeping import Swept
from p2pfs.dht.subjects import provider_subject
from p2pfs.errors import NoPeersError
from p2pfs.library import sweeping
from p2pfs.library.sweeping import Sweep, due_files, in_key_order, rate_of
from p2pfs.store.dags import Dags
from p2pfs.store.provided import Told
from p2pfs.store.swept import SharedFile, SweptFiles
from tests.library.kit import WatchedFolder, open_share_folder, wait_until

CHUNK = 262_144
HERE = (Endpoint("127.0.0.1", 7001),)
NOW = 1_800_000_000


class Network:
    """Takes a few chunks at a time, unless it is away; notes them and until when they live."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.until: set[int] = set()
        self.room = 10**9

    async def sweep(self, multihashes: Sequence[bytes], expires: int) -> Swept:
        await trio.lowlevel.checkpoint()
        taken = multihashes[: min(3, self.room)]
        if not taken:
            raise NoPeersError("away")
        self.room -= len(taken)
        self.told += taken
        self.until.add(expires)
        return Swept(len(taken), (), 0)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sweeping, "_REFUSED_SECONDS", (0.01, 0.02, 0.04))


@asynccontextmanager
async def sweeping_node(
    folder: WatchedFolder,
    network: Network,
    most: int = 1_000,
    clock: Callable[[], float] = time.time,
    addresses: Callable[[], Sequence[Endpoint]] = lambda: HERE,
) -> AsyncIterator[SweptFiles]:
    catalog = folder.shares._catalog
    files = SweptFiles(catalog)
    sweep = Sweep(network.sweep, files, Dags(catalog), addresses, most, clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep.run)
        yield files
        nursery.cancel_scope.cancel()


def content(chunks: int, start: int = 0) -> bytes:
    return b"".join(bytes([number]) * CHUNK for number in range(start, start + chunks))


def chunk_ids(chunks: int, start: int = 0) -> list[bytes]:
    """In the order of their keys."""
    made = [
        cid_of(0x55, bytes([number]) * CHUNK).multihash for number in range(start, start + chunks)
    ]
    return sorted(made, key=lambda each: provider_subject(each).key)


async def test_every_chunk_is_told_of_once_in_the_order_of_the_keys(tmp_path: Path) -> None:
    network = Network()
    async with open_share_folder(tmp_path) as folder:
        folder.write("song", content(8))
        folder.write("small", b"its root is its chunk")
        await folder.wait_share("song")
        await folder.wait_share("small")
        async with sweeping_node(folder, network):
            await wait_until(lambda: len(network.told) >= 8)
            folder.write("other", content(4, 6))  # two chunks are in both
            await folder.wait_share("other")
            await wait_until(lambda: len(network.told) >= 12)
            await trio.sleep(0.1)
    assert network.told == chunk_ids(8) + chunk_ids(4, 6)


async def test_after_a_restart_it_goes_on_where_it_was(tmp_path: Path) -> None:
    network = Network()
    network.room = 5
    async with open_share_folder(tmp_path) as folder:
        folder.write("song", content(8))
        await folder.wait_share("song")
        async with sweeping_node(folder, network) as files:
            await wait_until(lambda: len(network.told) == 5)
            await wait_until(lambda: (begun := files.begun()) is not None and begun.place != b"")
            await trio.sleep(0.1)
    network.room = 100
    async with open_share_folder(tmp_path) as folder, sweeping_node(folder, network) as files:
        await wait_until(lambda: len(network.told) == 8)
        await wait_until(lambda: files.begun() is None)
        await trio.sleep(0.1)
    assert network.told == chunk_ids(8)


class Besieged(Network):
    """Some chunks are refused by all nodes."""

    def __init__(self, refused: Sequence[bytes]) -> None:
        super().__init__()
        self.refused = set(refused)
        self.refusals: list[bytes] = []

    async def sweep(self, multihashes: Sequence[bytes], expires: int) -> Swept:
        await trio.lowlevel.checkpoint()
        offered = multihashes[:3]
        self.until.add(expires)
        refused = tuple(each for each in offered if each in self.refused)
        self.refusals += refused
        self.told += [each for each in offered if each not in refused]
        return Swept(len(offered), refused, 0)


@pytest.mark.parametrize("lane", [3, 6, 2_048])
async def test_chunks_that_nobody_takes_stop_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane: int
) -> None:
    monkeypatch.setattr(sweeping, "LANE_CHUNKS", lane)
    monkeypatch.setattr(sweeping, "_STEP_CHUNKS", 4 * lane)
    ids = chunk_ids(14)
    network = Besieged(ids[3:7])
    async with open_share_folder(tmp_path) as folder:
        folder.write("song", content(14))
        await folder.wait_share("song")
        async with sweeping_node(folder, network) as files:
            await wait_until(lambda: len(network.told) == 10)
            await wait_until(lambda: files.begun() is None)
    assert sorted(network.told) == sorted(ids[:3] + ids[7:])  # each of them once
    assert sorted(network.refusals) == sorted(2 * ids[3:7])  # tried again at the end


async def test_where_everybody_refuses_it_waits_longer_each_time_and_ends(tmp_path: Path) -> None:
    network = Besieged(chunk_ids(8))
    async with open_share_folder(tmp_path) as folder:
        folder.write("song", content(5))
        await folder.wait_share("song")
        async with sweeping_node(folder, network) as files:
            await wait_until(lambda: len(network.refusals) >= 5)
            folder.write("other", content(3, 5))  # while it is stuck, new ones come in
            await folder.wait_share("other")
            await wait_until(lambda: len(network.refusals) > 15)
            await wait_until(lambda: files.begun() is None)
            await trio.sleep(0.1)
    assert not network.told
    assert set(network.refusals) == set(chunk_ids(8))
    assert len(network.refusals) <= 5 * 8


async def test_a_step_takes_as_long_as_its_requests_may(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def announce(multihashes: Sequence[bytes], _: int) -> Swept:
        await trio.sleep(0.1)
        return Swept(min(70, len(multihashes)), (), 85)

    chunks = in_key_order({bytes((0x12, 0x20)) + bytes(30) + at.to_bytes(2) for at in range(700)})
    for rate, seconds in ((30, 850 / 30), (300, 850 / 300), (10_000, 1.0)):
        step, started = sweeping._Step(chunks, announce, time.time), trio.current_time()
        await step.run(rate)
        assert trio.current_time() - started == pytest.approx(seconds, abs=0.01)
        assert step.done == 700


async def test_chunks_are_renewed_before_they_expire(tmp_path: Path) -> None:
    network, hours = Network(), [0.0]
    async with open_share_folder(tmp_path) as folder:
        folder.write("song", content(3))
        await folder.wait_share("song")
        async with sweeping_node(folder, network, clock=lambda: NOW + hours[0] * 3_600):
            for hours[0], told in ((0, 3), (8.5, 3), (9.5, 6), (18, 6), (19, 9)):
                await wait_until(lambda told=told: len(network.told) >= told)
                await trio.sleep(0.1)
                assert len(network.told) == told
    assert network.until == {int(NOW + at * 3_600) + LIFETIME_SECONDS for at in (0, 9.5, 19)}


async def test_at_another_address_all_is_told_again_and_without_one_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_MOVED_AFTER_SECONDS", 0)
    network, addresses = Network(), [*HERE]
    async with open_share_folder(tmp_path) as folder:
        folder.write("song", content(3))
        await folder.wait_share("song")
        async with sweeping_node(folder, network, addresses=lambda: addresses):
            await wait_until(lambda: len(network.told) == 3)
            addresses.clear()
            await trio.sleep(0.1)
            assert len(network.told) == 3
            addresses.append(Endpoint("127.0.0.1", 7002))
            await wait_until(lambda: len(network.told) == 6)


async def test_a_renewal_goes_on_at_its_own_rate_after_a_restart(tmp_path: Path) -> None:
    network, hours = Network(), 0.0
    network.room = 0
    async with open_share_folder(tmp_path) as folder:
        for name, start in (("song", 0), ("other", 8)):
            folder.write(name, content(8, start))
            await folder.wait_share(name)
        async with sweeping_node(folder, network, clock=lambda: NOW + hours * 3_600) as files:
            await wait_until(lambda: files.begun() is not None)
            begun = files.begun()
            assert begun is not None
            assert rate_of(begun, NOW) == 300
            network.room = 100
            await wait_until(lambda: files.begun() is None)
            network.room, hours = 5, 9.5
            await wait_until(lambda: (begun := files.begun()) is not None and begun.place != b"")
    async with open_share_folder(tmp_path) as folder:
        begun = SweptFiles(folder.shares._catalog).begun()
        assert begun is not None
        assert len(begun.files) == 2
        assert begun.known_until == NOW + LIFETIME_SECONDS
        for at, rate in ((9.5, 30), (21.9, 30), (22.1, 300), (48, 300)):
            assert rate_of(begun, int(NOW + at * 3_600)) == rate


async def test_what_a_sweep_left_undone_is_known_for_as_long_as_it_lives(tmp_path: Path) -> None:
    network, hours = Network(), 0.0
    async with open_share_folder(tmp_path) as folder:
        folder.write("song", content(8))
        await folder.wait_share("song")
        async with sweeping_node(folder, network, clock=lambda: NOW + hours * 3_600) as files:
            await wait_until(lambda: len(network.told) == 8 and files.begun() is None)
            network.room, hours = 5, 9.5
            await wait_until(lambda: (begun := files.begun()) is not None and begun.place != b"")
            hours = 19.0  # too late to go on; it is begun anew
            await wait_until(lambda: (begun := files.begun()) is not None and begun.place == b"")
            begun = files.begun()
            assert begun is not None
            assert begun.known_until == NOW + LIFETIME_SECONDS
            network.room = 100
            await wait_until(lambda: files.begun() is None)
            assert [file.told for file in await files.newest(CHUNK, 10)] == [
                Told(NOW + 19 * 3_600 + LIFETIME_SECONDS, tuple(map(str, HERE)))
            ]


def shared(number: int, chunks: int, told: Told | None = None) -> SharedFile:
    return SharedFile(cid_of(0x70, bytes([number])), chunks * CHUNK, told)


def test_the_newest_files_come_first_and_only_so_many_chunks() -> None:
    files = [shared(1, 10), shared(2, 30), shared(3, 5)]
    assert due_files(files, 1_000, ("a",), NOW) == files
    assert due_files(files, 40, ("a",), NOW) == files[:2]
    assert due_files(files, 5, ("a",), NOW) == []


def test_what_is_soon_due_is_told_together_with_what_is() -> None:
    def told(hours_ago: float) -> Told:
        return Told(int(NOW - hours_ago * 3_600) + LIFETIME_SECONDS, ("a",))

    fresh, soon, late = shared(1, 2, told(2)), shared(2, 2, told(8.5)), shared(3, 2, told(10))
    assert due_files([fresh, soon], 99, ("a",), NOW) == []
    assert due_files([fresh, soon, late], 99, ("a",), NOW) == [soon, late]
    assert due_files([fresh, soon, shared(4, 2)], 99, ("a",), NOW) == [soon, shared(4, 2)]
    assert due_files([fresh, shared(6, 2, told(0.1))], 99, ("b",), NOW) == [
        fresh,
        shared(6, 2, told(0.1)),
    ]
    assert (
        due_files([shared(6, 2, told(0.1))], 99, ("b",), NOW) == []
    )  # not at every word of a peer
    assert due_files([shared(5, 2, told(-99))], 99, ("a",), NOW)  # by a clock that was ahead
