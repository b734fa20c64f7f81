"""Patterns beyond what trio brings: all of them, one of many askers, errors as themselves.

No policy belongs here: no retries, no queues, and how long to wait is for the callers.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from p2pfs.errors import NotRunningError, TimedOutError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    import outcome

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@asynccontextmanager
async def open_nursery() -> AsyncIterator[trio.Nursery]:
    """A trio nursery whose lone failure comes out as itself, not in a group.

    Of several failures the first that is no cancellation is raised, the others are its notes.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        failure = _lone(group)
    if failure is not None:
        raise failure  # outside the handler, so that it keeps its own cause


@contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Raise TimedOutError if the block has not ended after `seconds`."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TimedOutError(f"{what} took longer than {seconds:g} s")


async def all_of(calls: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """The results of all calls, run at once, in their order; the first failure cancels the rest."""
    calls = list(calls)
    results: dict[int, T] = {}

    async def run(index: int, call: Callable[[], Awaitable[T]]) -> None:
        results[index] = await call()

    async with open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(run, index, call)
    return [results[index] for index in range(len(calls))]


async def in_thread(limiter: trio.CapacityLimiter, call: Callable[..., T], *args: object) -> T:
    """`call(*args)` in one of trio's threads; given up on, and left to end by itself, if cancelled.

    For calls of microseconds, where most of `trio.to_thread.run_sync` is naming the thread twice
    and copying a context that nobody asks for.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    hop = _Hop(limiter)
    try:
        limiter.acquire_on_behalf_of_nowait(hop)
    except trio.WouldBlock:
        await limiter.acquire_on_behalf_of(hop)
    try:
        trio.lowlevel.start_thread_soon(partial(call, *args), hop.deliver)
    except BaseException:  # the system has no thread left
        limiter.release_on_behalf_of(hop)
        raise
    result: T = await trio.lowlevel.wait_task_rescheduled(hop.give_up)
    return result


class _Hop:
    """Holds its place in the limiter until the thread is done, whoever still waits for it."""

    __slots__ = ("_limiter", "_task", "_token", "_wanted")

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._task = trio.lowlevel.current_task()
        self._token = trio.lowlevel.current_trio_token()
        self._wanted = True

    def deliver(self, result: outcome.Outcome[object]) -> None:
        """In the thread."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._report, result)

    def give_up(self, _: object) -> trio.lowlevel.Abort:
        self._wanted = False
        return trio.lowlevel.Abort.SUCCEEDED

    def _report(self, result: outcome.Outcome[object]) -> None:
        self._limiter.release_on_behalf_of(self)
        if self._wanted:
            trio.lowlevel.reschedule(self._task, result)


class SingleFlight(Generic[K, T]):
    """Many askers of one key share one call, which runs in a nursery that outlives each of them.

    An asker that is cancelled leaves; the call goes on, for the others and for the next.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._flights: dict[K, _Flight[T]] = {}

    async def run(self, key: K, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call`, or of the one under way for this key; raises what it raises."""
        return await self.start(key, call).wait_result()

    def start(self, key: K, call: Callable[[], Awaitable[T]]) -> _Flight[T]:
        """Start `call` unless one is under way for this key; never waits."""
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight()
            self._nursery.start_soon(self._fly, key, flight, call)
            self._flights[key] = flight
        return flight

    async def _fly(self, key: K, flight: _Flight[T], call: Callable[[], Awaitable[T]]) -> None:
        try:
            flight.result = await call()
        except Exception as error:  # noqa: BLE001 handed to every asker instead
            flight.error = error
        except BaseException:
            flight.error = NotRunningError("the node is stopping")
            raise
        finally:
            del self._flights[key]
            flight.landed.set()


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = trio.Event()
        self.result: T | None = None
        self.error: Exception | None = None

    async def wait_result(self) -> T:
        await self.landed.wait()
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # set, since landed without an error


def _lone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    leaves = list(_leaves(group))
    real = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
    if not real:
        return group
    real.sort(key=lambda leaf: isinstance(leaf, Exception))  # Ctrl-C before any mere failure
    for other in real[1:]:
        real[0].add_note(f"at the same time: {other!r}")
    return real[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
