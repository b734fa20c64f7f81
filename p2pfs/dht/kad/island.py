"""The asyncio thread that the overlay lives in, and the one bridge between it and trio.

Nothing here knows what runs on the island.  The bridge is crossed once for each operation.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import outcome
import trio

from p2pfs.errors import NotRunningError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from typing import Any

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class Island:
    """Runs coroutines of the asyncio loop for trio tasks, and calls of trio for the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._trio = trio.lowlevel.current_trio_token()
        self._closed = False

    async def run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `call` returns or raises over there; raises NotRunningError when it is closed.

        Cancelling this cancels the asyncio task, and returns only when that has ended.
        """
        if self._closed:
            raise NotRunningError("the overlay has ended")
        task = trio.lowlevel.current_task()
        over_there: list[asyncio.Task[T]] = []
        cancelled: list[Callable[[], None]] = []

        def start() -> None:
            started = self._loop.create_task(call())
            over_there.append(started)
            started.add_done_callback(finished)
            if cancelled:
                started.cancel()

        def finished(done: asyncio.Task[T]) -> None:
            self.tell(trio.lowlevel.reschedule, task, outcome.Value(done))

        def abort(raise_cancel: Callable[[], None]) -> trio.lowlevel.Abort:
            cancelled.append(raise_cancel)
            with suppress(RuntimeError):  # asyncio's word for a loop that is closed: it has ended
                self._loop.call_soon_threadsafe(lambda: over_there and over_there[0].cancel())
            return trio.lowlevel.Abort.FAILED

        self._loop.call_soon_threadsafe(start)
        done = await trio.lowlevel.wait_task_rescheduled(abort)
        if done.cancelled():
            if cancelled:
                cancelled[0]()
            raise NotRunningError("the overlay ended meanwhile")
        return done.result()  # type: ignore[no-any-return]  # wait_task_rescheduled is untyped

    def tell(self, call: Callable[..., object], *args: object) -> None:
        """From the island: have `call(*args)` run by trio, in the order told, without waiting."""
        self._trio.run_sync_soon(call, *args)

    async def ashore(self, nursery: trio.Nursery, call: Callable[[], Awaitable[T]]) -> T:
        """From the island: what `call` returns or raises as a task of a nursery of trio's.

        Raises NotRunningError if that is closed.  Cancelling this cancels the task, and does not
        wait for its end.  The nursery must be closed before the island.
        """
        result: asyncio.Future[outcome.Outcome[T]] = self._loop.create_future()
        scope = trio.CancelScope()

        def settle(came: outcome.Outcome[T]) -> None:
            if not result.done():
                result.set_result(came)

        async def run() -> None:
            with scope:
                came = await _outcome_of(call)
                self._loop.call_soon_threadsafe(settle, came)

        def begin() -> None:
            try:
                nursery.start_soon(run)
            except RuntimeError:  # trio's word for a nursery that is closed
                ended = outcome.Error(NotRunningError("the node is stopping"))
                self._loop.call_soon_threadsafe(settle, ended)

        self.tell(begin)
        try:
            return (await result).unwrap()
        finally:
            self.tell(scope.cancel)

    def close(self) -> None:
        """Take no more calls; those that run end cancelled."""
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)


@asynccontextmanager
async def open_island() -> AsyncIterator[Island]:
    """An asyncio loop in a thread of its own, cancelled, closed and joined at the end."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_log_stray)
    thread = threading.Thread(target=_live, args=(loop,), name="p2pfs-island", daemon=True)
    thread.start()
    island = Island(loop)
    try:
        yield island
    finally:
        island.close()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)


async def _outcome_of(call: Callable[[], Awaitable[T]]) -> outcome.Outcome[T]:
    """Without cancellation, which is for the task that runs it."""
    try:
        return outcome.Value(await call())
    except Exception as error:  # noqa: BLE001 raised on the other side instead
        return outcome.Error(error)


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_end_all())
    finally:
        loop.close()


async def _end_all() -> None:
    """Cancel what still runs; a transport that was closed needs one more turn of the loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)


def _log_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody awaits: a packet handler or a callback that raised.  The island lives on."""
    _LOG.error("in the overlay: %s", context.get("message"), exc_info=context.get("exception"))
