"""Drives a lookup: asks whom it names, as many at once as it allows, until it is over.

What an answer means is `lookup`'s; how one node is asked, `asking`'s.
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


async def crawl(lookup: Lookup, ask: Callable[[Hint], Coroutine[Any, Any, None]]) -> None:
    """Run a lookup to its end; `ask` tells it `answered` or `failed` for each hint, and `add`s."""
    async with _task_set() as asking:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                while not lookup.is_over:
                    asking.update(asyncio.create_task(ask(hint)) for hint in lookup.todo())
                    if not asking:
                        return
                    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                    asking.difference_update(done)
                    for task in done:
                        task.result()  # a mistake in `ask` shows here
        except TimeoutError:
            return


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
