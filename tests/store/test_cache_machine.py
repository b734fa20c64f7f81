"""Reading, evicting, punching, crashes and restarts in any order: never a wrong byte, no leak."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from p2pfs.store.presence import SEGMENT_BYTES
from p2pfs.store.room import Limits
from tests.content.dags import balanced
from tests.store.kit import nodes_of, open_store
from tools.readers import allocated_bytes

if TYPE_CHECKING:
    from p2pfs.store.leases import Lease
    from p2pfs.store.object import Object
    from tests.store.kit import Store

QUOTA = 3 << 20
# Leaves that fill blocks of the disk, and others whose ends share them.
CHUNKS = (64 << 10, 50_000, 100_001)
FILES = []
for number, chunk in enumerate(CHUNKS):
    data = random.Random(number).randbytes(2_000_000 + number)
    FILES.append((balanced(data, chunk, width=8), data))

files = st.integers(0, len(FILES) - 1)
places = st.integers(0, 1_999_999)
lengths = st.integers(1, 400_000)


class Running:
    """A store in a trio loop of its own thread, until it is told to end."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.started = threading.Event()
        self.thread = threading.Thread(target=trio.run, args=(self._run,))
        self.thread.start()
        self.started.wait()

    async def _run(self) -> None:
        self.ended = trio.Event()
        async with open_store(self.home, limits=Limits(QUOTA)) as self.store:
            self.token = trio.lowlevel.current_trio_token()
            self.started.set()
            await self.ended.wait()

    def do(self, call: Callable[[Store], Awaitable[None]]) -> None:
        trio.from_thread.run(call, self.store, trio_token=self.token)

    def end(self) -> None:
        trio.from_thread.run_sync(self.ended.set, trio_token=self.token)
        self.thread.join()


class Cache(RuleBasedStateMachine):
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="p2pfs-machine-", dir="/var/tmp"))
        self.runs = 0
        self.start(self.folder / "0")

    def start(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        self.running = Running(home)
        self.open: dict[int, Object] = {}
        self.leases: list[tuple[Lease, Object, int, int]] = []

    def teardown(self) -> None:
        self.let_go()
        self.running.end()
        shutil.rmtree(self.folder)

    def let_go(self) -> None:
        async def close(store: Store) -> None:
            for lease, *_ in self.leases:
                lease.__exit__()
            for held in self.open.values():
                store.objects.close(held)
            self.open, self.leases = {}, []

        self.running.do(close)

    async def opened(self, store: Store, file: int) -> Object:
        if file not in self.open:
            dag, _ = FILES[file]
            self.open[file] = store.objects.open(dag.root, dag.size)
            await self.open[file].keep_nodes(nodes_of(dag))
        return self.open[file]

    @rule(file=files, start=places, length=lengths)
    def read(self, file: int, start: int, length: int) -> None:
        async def read(store: Store) -> None:
            dag, content = FILES[file]
            stop = min(start + length, dag.size)
            held = await self.opened(store, file)
            with held.presence.lease(start, stop):
                await held.check(start, stop)
                for begin, end in held.checked.gaps(start, stop):
                    await bring(store, held, content, begin, end)
                got = await trio.to_thread.run_sync(held.read, start, stop - start)
            assert got == content[start:stop]

        self.running.do(read)

    @rule(file=files, start=places, length=lengths)
    def write_what_never_lands(self, file: int, start: int, length: int) -> None:
        async def write(store: Store) -> None:
            dag, content = FILES[file]
            held = await self.opened(store, file)
            with held.presence.lease(start, start):
                for leaf in list(held.leaves(start, min(start + length, dag.size))):
                    if not held.present.overlaps(leaf.start, leaf.stop):
                        held.write(leaf.start, content[leaf.start : leaf.stop])
                        held.abandon([(leaf.start, leaf.stop)])

        self.running.do(write)

    @rule(file=files, start=places, length=lengths)
    def evict(self, file: int, start: int, length: int) -> None:
        async def evict(store: Store) -> None:
            held = await self.opened(store, file)
            held.evict(start, start + length, held.presence.leases.spans())

        self.running.do(evict)

    @rule(file=files)
    def punch(self, file: int) -> None:
        async def punch(store: Store) -> None:
            await (await self.opened(store, file)).punch()

        self.running.do(punch)

    @rule(size=st.integers(0, QUOTA))
    def make_room(self, size: int) -> None:
        async def make_room(store: Store) -> None:
            with store.objects.room.claim(size):
                await store.objects.room.make()

        self.running.do(make_room)

    @rule(file=files, start=places, length=lengths)
    def lease(self, file: int, start: int, length: int) -> None:
        async def lease(store: Store) -> None:
            held = await self.opened(store, file)
            for begin, end in held.present.overlaps(start, min(start + length, held.size))[:1]:
                self.leases.append((held.presence.lease(begin, end).__enter__(), held, begin, end))

        self.running.do(lease)

    @rule()
    def close_all(self) -> None:
        self.let_go()

    @rule()
    def save(self) -> None:
        async def save(store: Store) -> None:
            await store.objects.save()
            if not self.leases:
                allocated, used = allocated_bytes(store.objects.folder), store.objects.used_bytes()
                # Nodes that a run left without content lie in the catalogue, and count as well.
                bare = sum(size for _, _, size in store.objects.directories.all())
                assert allocated <= used <= allocated + bare

        self.running.do(save)

    @rule()
    def restart(self) -> None:
        self.let_go()
        self.running.end()
        self.start(self.running.home)

    @rule(rotten=st.none() | st.tuples(files, places))
    def crash(self, rotten: tuple[int, int] | None) -> None:
        """What a kill would leave behind at this moment is what the next run finds."""
        self.runs += 1
        before, after = self.running.home, self.folder / str(self.runs)
        subprocess.run(["cp", "-a", "--sparse=always", before, after], check=True)
        self.let_go()
        self.running.end()
        shutil.rmtree(before)
        if rotten is not None:
            rot(after, *rotten)
        self.start(after)

        async def nothing_is_left_over(store: Store) -> None:
            assert allocated_bytes(store.objects.folder) <= store.objects.used_bytes()

        self.running.do(nothing_is_left_over)

    @invariant()
    def all_that_is_checked_is_right(self) -> None:
        async def look(_: Store) -> None:
            for file, held in self.open.items():
                _, content = FILES[file]
                for start, stop in held.checked:
                    assert held.present.covers(start, stop)
                    assert held.read(start, stop - start) == content[start:stop]

        self.running.do(look)

    @invariant()
    def what_is_leased_stays(self) -> None:
        Cache.steps += 1
        assert all(held.present.covers(start, stop) for _, held, start, stop in self.leases)

    @invariant()
    def the_quota_holds_but_for_what_is_leased(self) -> None:
        leased = sum(stop - start + 2 * SEGMENT_BYTES for _, _, start, stop in self.leases)
        assert self.running.store.objects.used_bytes() <= QUOTA + leased + max(CHUNKS) * 8


async def bring(store: Store, held: Object, content: bytes, start: int, stop: int) -> None:
    room = store.objects.room
    with held.presence.lease(start, stop) as lease, room.claim(stop - start) as claim:
        await room.force()
        for leaf in list(held.leaves(start, stop)):
            lease.widen(leaf.start, leaf.stop)
            piece = content[leaf.start : leaf.stop]
            await trio.to_thread.run_sync(held.write, leaf.start, piece)
            held.landed(leaf.start, leaf.stop)
            claim.landed(len(piece))


def rot(home: Path, file: int, at: int) -> None:
    name = str(FILES[file][0].root.v1)
    for path in (home / "cache" / "objects").glob(f"*/{name}"):
        with path.open("r+b") as rotten:
            byte = os.pread(rotten.fileno(), 1, at)[0]
            os.pwrite(rotten.fileno(), bytes([byte ^ 1]), at)


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Cache,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_order_of_reading_evicting_crashing_and_restarting() -> None:
    run(60, 50)


@pytest.mark.nightly
def test_ten_thousand_steps() -> None:
    before = Cache.steps
    run(110, 100)
    assert Cache.steps - before >= 10_000
