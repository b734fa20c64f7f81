from __future__ import annotations

import threading

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2pfs.concurrency import SingleFlight, all_of, in_thread, open_nursery
from p2pfs.errors import NotFoundError, NotRunningError


async def _fail(error: BaseException) -> None:
    raise error


async def test_a_lone_failure_comes_out_as_itself_with_its_cause() -> None:
    cause = OSError("why")
    failure = NotFoundError("gone")
    failure.__cause__ = cause
    with pytest.raises(NotFoundError) as caught:
        async with open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(_fail, failure)
    assert caught.value is failure
    assert caught.value.__cause__ is cause


async def test_a_failure_of_the_body_comes_out_as_itself() -> None:
    with pytest.raises(NotFoundError):
        async with open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise NotFoundError("gone")


async def test_other_failures_are_notes_and_nested_groups_are_unwrapped() -> None:
    group = ExceptionGroup("inner", [NotFoundError("inner"), ValueError("too")])
    with pytest.raises(NotFoundError) as caught:
        async with open_nursery():
            raise group
    assert any("ValueError('too')" in note for note in caught.value.__notes__)


async def test_ctrl_c_is_never_a_note() -> None:
    with pytest.raises(KeyboardInterrupt):
        async with open_nursery():
            raise BaseExceptionGroup("both", [NotFoundError("gone"), KeyboardInterrupt()])


async def test_cancellation_goes_through() -> None:
    with trio.move_on_after(0) as scope:
        async with open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_all_of_keeps_the_order_and_runs_at_once(autojump_clock: MockClock) -> None:
    async def after(seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    started = trio.current_time()
    assert await all_of(lambda s=s: after(s) for s in (3.0, 1.0, 2.0)) == [3.0, 1.0, 2.0]
    assert trio.current_time() - started == 3.0
    assert await all_of([]) == []


async def test_the_first_failure_cancels_the_rest(autojump_clock: MockClock) -> None:
    with pytest.raises(NotFoundError):
        await all_of([trio.sleep_forever, lambda: _fail(NotFoundError("gone"))])


class _Call:
    def __init__(self) -> None:
        self.count = 0
        self.go_on = trio.Event()

    async def __call__(self) -> int:
        self.count += 1
        await self.go_on.wait()
        return self.count


async def test_askers_of_one_key_share_a_call_and_the_next_starts_anew() -> None:
    call, results = _Call(), []
    async with open_nursery() as nursery:
        flights: SingleFlight[str, int] = SingleFlight(nursery)

        async def ask() -> None:
            results.append(await flights.run("key", call))

        async with open_nursery() as askers:
            for _ in range(3):
                askers.start_soon(ask)
            await wait_all_tasks_blocked()
            call.go_on.set()
        assert results == [1, 1, 1]
        assert await flights.run("key", call) == 2


async def test_an_asker_that_leaves_does_not_end_the_call() -> None:
    call = _Call()
    async with open_nursery() as nursery:
        flights: SingleFlight[str, int] = SingleFlight(nursery)
        with trio.move_on_after(0):
            await flights.run("key", call)
        flight = flights.start("key", call)
        call.go_on.set()
        assert await flight.wait_result() == 1


async def test_a_failure_reaches_every_asker_and_not_the_nursery() -> None:
    async with open_nursery() as nursery:
        flights: SingleFlight[str, None] = SingleFlight(nursery)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await flights.run("key", lambda: _fail(NotFoundError("gone")))


async def test_askers_learn_that_the_nursery_was_cancelled() -> None:
    call = _Call()
    async with open_nursery() as outer:
        async with open_nursery() as nursery:
            flights: SingleFlight[str, int] = SingleFlight(nursery)
            flight = flights.start("key", call)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with pytest.raises(NotRunningError):
            await flight.wait_result()
        outer.cancel_scope.cancel()


async def test_a_call_in_a_thread_returns_and_raises_as_itself() -> None:
    limiter = trio.CapacityLimiter(1)
    assert await in_thread(limiter, divmod, 7, 3) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(limiter, divmod, 7, 0)
    assert await in_thread(limiter, threading.get_ident) != threading.get_ident()
    assert limiter.borrowed_tokens == 0


async def test_a_call_given_up_on_keeps_its_place_until_its_thread_ends() -> None:
    limiter, disk_answers = trio.CapacityLimiter(1), threading.Event()
    with trio.move_on_after(0) as given_up:
        await in_thread(limiter, disk_answers.wait)  # not even begun: the scope was cancelled
    assert given_up.cancelled_caught
    assert limiter.borrowed_tokens == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, limiter, disk_answers.wait)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert limiter.borrowed_tokens == 1
    disk_answers.set()
    assert await in_thread(limiter, int, "5") == 5  # waits until there is room


async def test_calls_beyond_the_limit_wait_and_all_are_made() -> None:
    limiter, made = trio.CapacityLimiter(3), list[int]()
    async with open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(in_thread, limiter, made.append, number)
    assert sorted(made) == list(range(50))
    assert limiter.borrowed_tokens == 0
