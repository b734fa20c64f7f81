"""Drives a lookup: asks whom it names, as many at once as it allows, until it is over.

What an answer means is `lookup`'s; how one node is asked, `finding`'s.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from p2pfs.dht.kad.contacts import Hint
    from p2pfs.dht.kad.lookup import Lookup

# What a lookup may take in all (docs/wire.md, section 7); what was found until then counts.
LOOKUP_SECONDS = 12.0


async def crawl(
    lookup: Lookup,
    ask: Callable[[Hint], Coroutine[Any, Any, None]],
    patience: Callable[[Hint], float],
) -> None:
    """Run a lookup to its end; `ask` tells it `answered` or `failed` for each hint.

    After `patience` seconds without either the lookup is told that a node is late.
    """
    async with _questions() as questions:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                while True:
                    for hint in lookup.todo():
                        questions.begin(ask(hint), patience(hint), partial(lookup.late, hint))
                    if lookup.is_over or not questions.open:
                        return
                    await questions.wait_changed()
        except TimeoutError:
            return


class _Questions:
    """What is asked at once; each is looked at when it ends, and when its answer is late."""

    def __init__(self) -> None:
        self.open: dict[asyncio.Task[None], asyncio.TimerHandle] = {}
        self._ended: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    def begin(
        self, asking: Coroutine[Any, Any, None], patience: float, late: Callable[[], None]
    ) -> None:
        """Ask; `late` is called after `patience` seconds without an answer."""

        def tell() -> None:
            late()
            self._changed.set()

        task = asyncio.create_task(asking)
        self.open[task] = asyncio.get_running_loop().call_later(patience, tell)
        task.add_done_callback(self._end)

    async def wait_changed(self) -> None:
        """Until something has ended or is late; a mistake in what was asked shows here."""
        await self._changed.wait()
        self._changed.clear()
        for task in self._ended:
            task.result()
        self._ended.clear()

    def _end(self, task: asyncio.Task[None]) -> None:
        self.open.pop(task).cancel()
        self._ended.append(task)
        self._changed.set()


@asynccontextmanager
async def _questions() -> AsyncIterator[_Questions]:
    """They have ended when the block has."""
    questions = _Questions()
    try:
        yield questions
    finally:
        for task, late in questions.open.items():
            late.cancel()
            task.cancel()
        await asyncio.gather(*questions.open, return_exceptions=True)
