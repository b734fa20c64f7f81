from __future__ import annotations

from math import inf

import pytest
import trio
from trio.testing import MockClock

from p2pfs.concurrency import open_nursery
from p2pfs.errors import TimedOutError
from p2pfs.fs.limits import Deadlines, WaitingReads, shortest


async def never() -> bytes:
    await trio.sleep_forever()
    return b""


async def test_a_read_without_progress_ends_when_it_has_stalled(autojump_clock: MockClock) -> None:
    reads = WaitingReads()
    async with open_nursery() as nursery:
        nursery.start_soon(reads.watch)
        started = trio.current_time()
        with pytest.raises(TimedOutError):
            await reads.run(never, lambda: 0)
        assert trio.current_time() - started == pytest.approx(15, abs=1)
        nursery.cancel_scope.cancel()


async def test_a_read_that_gets_on_has_thirty_seconds(autojump_clock: MockClock) -> None:
    reads = WaitingReads()
    async with open_nursery() as nursery:
        nursery.start_soon(reads.watch)
        started = trio.current_time()
        with pytest.raises(TimedOutError):
            await reads.run(never, lambda: int(trio.current_time()))
        assert trio.current_time() - started == pytest.approx(30, abs=1)
        nursery.cancel_scope.cancel()


async def test_when_too_many_wait_the_most_hopeless_is_given_up(autojump_clock: MockClock) -> None:
    reads = WaitingReads()
    reads.allow(Deadlines(), max_background=7)  # so that three may wait
    ended: list[tuple[int, float]] = []

    async def reader(number: int) -> None:
        with pytest.raises(TimedOutError):
            await reads.run(never, lambda: 0)
        ended.append((number, trio.current_time()))

    async with open_nursery() as nursery:
        nursery.start_soon(reads.watch)
        began = trio.current_time()
        async with open_nursery() as readers:
            for number in range(3):
                readers.start_soon(reader, number)
                await trio.sleep(2)
            assert ended == []
            readers.start_soon(reader, 3)
            await trio.sleep(2)
            assert [number for number, _ in ended] == [0]
            assert ended[0][1] - began < 8
        nursery.cancel_scope.cancel()


async def test_many_reads_that_get_on_are_left_alone(autojump_clock: MockClock) -> None:
    reads = WaitingReads()
    reads.allow(Deadlines(), max_background=5)

    async def slow() -> bytes:
        await trio.sleep(4)
        return b"there"

    async def reader() -> None:
        assert await reads.run(slow, lambda: int(trio.current_time() * 10)) == b"there"

    async with open_nursery() as nursery:
        nursery.start_soon(reads.watch)
        async with open_nursery() as readers:
            for _ in range(20):
                readers.start_soon(reader)
        nursery.cancel_scope.cancel()


async def test_a_failed_read_fails_as_itself() -> None:
    async def fail() -> bytes:
        raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"):
        await WaitingReads().run(fail, lambda: 0)


def test_no_deadline_is_over_half_of_what_the_kernel_waits() -> None:
    assert Deadlines().below(inf) == Deadlines()
    assert Deadlines().below(8) == Deadlines(4, 2, 4, 4, 4)


def test_zero_is_no_limit_of_the_kernel() -> None:
    assert shortest(0, 0) == inf
    assert shortest(0, 30) == 30
    assert shortest(60, 30) == 30
