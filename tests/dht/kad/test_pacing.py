"""How many placements are under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.acquaintances import Acquaintances
from p2pfs.dht.kad.pacing import Pace

PEER = Endpoint("203.0.113.7", 4321)


class Line:
    """Carries `capacity` placements at once; when more are under way, what is asked is lost."""

    def __init__(self, capacity: int) -> None:
        self.acquaintances = Acquaintances()
        self.acquaintances.answered(PEER, 0.05)
        self.pace = Pace(self.acquaintances)
        self.under_way = 0
        self.most = 0
        self._capacity = capacity

    async def place(self) -> None:
        async with self.pace.turn():
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0)
            for _ in range(10):
                if self.under_way <= self._capacity:
                    self.acquaintances.answered(PEER, 0.05)
                else:
                    self.acquaintances.kept_silent(PEER, 0.0)
            await asyncio.sleep(0)
            self.under_way -= 1

    async def most_of(self, placements: int) -> int:
        self.most = 0
        await asyncio.gather(*(self.place() for _ in range(placements)))
        return self.most


def test_more_and_more_are_placed_at_once_while_all_answer() -> None:
    async def run() -> None:
        line = Line(1_000)
        assert await line.most_of(8) == 8
        assert await line.most_of(2_000) == 32
        assert line.under_way == 0

    asyncio.run(run())


@pytest.mark.parametrize("capacity", [1, 4, 12])
def test_no_more_are_placed_than_are_answered(capacity: int) -> None:
    async def run() -> None:
        line = Line(capacity)
        await line.most_of(200)
        # One more is tried now and then, and taken back.
        assert await line.most_of(200) <= capacity + 1
        assert line.under_way == 0

    asyncio.run(run())


def test_one_jam_halves_once_and_the_line_recovers() -> None:
    async def run() -> None:
        line = Line(1_000)
        await line.most_of(2_000)
        line._capacity = 0
        await line.most_of(32)
        line._capacity = 1_000
        assert await line.most_of(16) == 16
        assert await line.most_of(2_000) == 32

    asyncio.run(run())


def test_a_jam_that_a_few_meet_holds_back_the_many_that_come_after() -> None:
    async def run() -> None:
        line = Line(1_000)
        await line.most_of(2_000)
        line._capacity = 0
        for _ in range(5):
            await line.place()
        line._capacity = 1_000
        assert await line.most_of(3) == 2  # one, then one more
        assert await line.most_of(2_000) == 32

    asyncio.run(run())


def test_those_that_never_answered_are_no_jam() -> None:
    async def run() -> None:
        line = Line(1_000)
        await line.most_of(2_000)

        async def among_the_dead() -> None:
            async with line.pace.turn():
                for port in range(2_000, 2_030):
                    line.acquaintances.kept_silent(Endpoint("203.0.113.8", port), 0.0)

        await asyncio.gather(*(among_the_dead() for _ in range(100)))
        assert await line.most_of(100) == 32

    asyncio.run(run())


def test_cancelled_ones_leave_their_places() -> None:
    async def run() -> None:
        line = Line(1_000)
        await _cancelled(line.pace, lambda: asyncio.sleep(100), 50)
        assert await line.most_of(8) == 8

    asyncio.run(run())


async def _cancelled(pace: Pace, wait: Callable[[], Awaitable[None]], count: int) -> None:
    async def one() -> None:
        async with pace.turn():
            await wait()

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
