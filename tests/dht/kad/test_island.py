from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest
import trio
import trio.testing

from p2pfs.dht.kad.island import open_island
from p2pfs.errors import NotRunningError


async def test_results_and_errors_cross_the_bridge() -> None:
    async def add(one: int, other: int) -> int:
        await asyncio.sleep(0)
        return one + other

    async def fail() -> None:
        raise KeyError("over there")

    async with open_island() as island:
        assert await island.run(partial(add, 1, 2)) == 3
        with pytest.raises(KeyError):
            await island.run(fail)


async def test_cancelling_what_has_just_ended_with_the_island_is_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_island() as island, trio.open_nursery() as nursery:
        nursery.start_soon(island.run, partial(asyncio.sleep, 60))
        await trio.testing.wait_all_tasks_blocked()
        [thread] = [each for each in threading.enumerate() if each.name == "p2pfs-island"]
        island.close()
        monkeypatch.setattr(island, "close", lambda: None)  # once is enough
        thread.join()  # its loop is closed, and trio has not heard of it yet
        nursery.cancel_scope.cancel()


async def test_cancelling_ends_the_task_over_there_before_it_returns() -> None:
    events: list[str] = []

    async def wait() -> None:
        try:
            events.append("started")
            await asyncio.sleep(60)
        finally:
            events.append("ended")

    async with open_island() as island:
        with trio.move_on_after(0.05) as scope:
            await island.run(wait)
        assert scope.cancelled_caught
        assert events == ["started", "ended"]


async def test_cancelling_at_once_leaves_nothing_behind() -> None:
    async def tasks() -> int:
        return len(asyncio.all_tasks())

    async with open_island() as island:
        for _ in range(100):
            with trio.CancelScope() as scope:
                scope.cancel()
                await island.run(partial(asyncio.sleep, 60))
        assert await island.run(tasks) == 1


async def test_a_result_that_is_there_before_the_cancellation_counts() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done anyway"
        return "never"

    async with open_island() as island:
        with trio.move_on_after(0.05):
            assert await island.run(stubborn) == "done anyway"


async def test_closing_ends_whatever_runs_and_joins_the_thread() -> None:
    before = threading.active_count()

    async def call() -> None:
        with pytest.raises(NotRunningError):
            await island.run(partial(asyncio.sleep, 60))

    async with trio.open_nursery() as nursery:
        async with open_island() as island:
            for _ in range(50):
                nursery.start_soon(call)
            await trio.sleep(0.05)
            started = time.monotonic()
        assert time.monotonic() - started < 1
    assert not any(each.name == "p2pfs-island" for each in threading.enumerate())
    assert threading.active_count() <= before + 1  # trio keeps a worker of its own
    with pytest.raises(NotRunningError):
        await island.run(partial(asyncio.sleep, 0))


async def test_what_is_told_arrives_in_order_and_before_the_result() -> None:
    heard: list[int] = []

    async def tell() -> None:
        for number in range(100):
            island.tell(heard.append, number)

    async with open_island() as island:
        await island.run(tell)
        assert heard == list(range(100))


async def test_what_trio_returns_or_raises_crosses_the_other_way() -> None:
    async def add(one: int, other: int) -> int:
        await trio.lowlevel.checkpoint()
        return one + other

    async def fail() -> None:
        raise KeyError("over here")

    async with open_island() as island, trio.open_nursery() as nursery:
        assert await island.run(lambda: island.ashore(nursery, partial(add, 1, 2))) == 3
        with pytest.raises(KeyError):
            await island.run(lambda: island.ashore(nursery, fail))


async def test_cancelling_over_there_cancels_here() -> None:
    ended = trio.Event()

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def give_up() -> None:
        async with asyncio.timeout(0.05):
            await island.ashore(nursery, wait)

    async with open_island() as island, trio.open_nursery() as nursery:
        with pytest.raises(TimeoutError):
            await island.run(give_up)
        with trio.fail_after(1):
            await ended.wait()


async def test_a_nursery_that_is_closed_takes_no_more_calls() -> None:
    async with open_island() as island:
        async with trio.open_nursery() as nursery:
            pass
        with pytest.raises(NotRunningError):
            await island.run(lambda: island.ashore(nursery, partial(trio.sleep, 0)))
