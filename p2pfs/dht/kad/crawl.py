"""Drives a lookup: asks whom it names, as many at once as it allows, until it is over.

What an answer means is `lookup`'s; how one node is asked, `finding`'s.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from p2pfs.dht.kad.contacts import Hint
    from p2pfs.dht.kad.lookup import Lookup

# What a lookup may take in all (PROTOCOLS §3); what was found until then counts.
LOOKUP_SECONDS = 12.0


async def crawl(
    lookup: Lookup,
    ask: Callable[[Hint], Coroutine[Any, Any, None]],
    patience: Callable[[Hint], float],
) -> None:
    """Run a lookup to its end; `ask` tells it `answered` or `failed` for each hint.

    After `patience` seconds without either the lookup is told that a node is late.
    """
    async with _task_set() as asking:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                await _crawl(lookup, ask, patience, asking)
        except TimeoutError:
            return


async def _crawl(
    lookup: Lookup,
    ask: Callable[[Hint], Coroutine[Any, Any, None]],
    patience: Callable[[Hint], float],
    asking: set[asyncio.Task[None]],
) -> None:
    loop = asyncio.get_running_loop()
    due: dict[Hint, float] = {}  # when each that was asked is late
    while True:
        for hint in lookup.todo():
            asking.add(asyncio.create_task(ask(hint)))
            due[hint] = loop.time() + patience(hint)
        if lookup.is_over or not asking:
            return
        pause = max(0.0, min(due.values()) - loop.time()) if due else None
        done, _ = await asyncio.wait(asking, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        asking.difference_update(done)
        for task in done:
            task.result()  # a mistake in `ask` shows here
        for hint in [hint for hint, at in due.items() if at <= loop.time()]:
            del due[hint]
            lookup.late(hint)


@asynccontextmanager
async def _task_set() -> AsyncIterator[set[asyncio.Task[None]]]:
    """Tasks that have ended when the block has."""
    tasks: set[asyncio.Task[None]] = set()
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
