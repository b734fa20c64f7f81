from __future__ import annotations

import asyncio
import time

import pytest

from tests.sim.loop import StuckError, VirtualLoop


def test_a_day_passes_at_once() -> None:
    loop, began = VirtualLoop(), time.monotonic()
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() == pytest.approx(86_400)
    assert time.monotonic() - began < 1
    loop.close()


def test_timers_go_off_in_their_order_and_at_their_time() -> None:
    loop = VirtualLoop()
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time()))

    async def both() -> None:
        await asyncio.gather(wait("late", 2), wait("early", 1))

    loop.run_until_complete(both())
    assert [name for name, _ in seen] == ["early", "late"]
    assert [at for _, at in seen] == pytest.approx([1, 2])
    loop.close()


def test_what_is_posted_goes_off_between_timers_and_what_it_raises_ends_all() -> None:
    loop = VirtualLoop()
    seen: list[object] = []
    loop.call_later(2, seen.append, "timer")
    loop.post(1, seen.append, "first")
    loop.post(2, seen.append, "last")
    loop.run_until_complete(asyncio.sleep(3))
    assert seen == ["first", "timer", "last"]
    loop.post(1, seen.remove, "who was never there")
    with pytest.raises(ValueError, match="not in list"):
        loop.run_until_complete(asyncio.sleep(3))
    loop.close()


def test_a_timeout_ends_what_never_happens() -> None:
    loop = VirtualLoop()

    async def wait() -> None:
        async with asyncio.timeout(5):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        loop.run_until_complete(wait())
    loop.close()


def test_waiting_for_what_can_never_come_is_an_error() -> None:
    loop = VirtualLoop()
    task = loop.create_task(asyncio.Event().wait())
    with pytest.raises(StuckError):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
