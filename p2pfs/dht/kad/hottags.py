"""The second level of a tag that many publish under: its shards, read one after another.

When it is read is for `overlay`, which also writes it; what a shard is, `subjects` says.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from p2pfs.concurrency import open_nursery
from p2pfs.dht.subjects import TAG_SHARDS
from p2pfs.errors import NoPeersError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

_LOG = logging.getLogger(__name__)

# Each is a lookup and some pages.  A reader's other lookups wait behind them for the same sockets.
_SHARDS_AT_ONCE = 8


async def read_shards(
    read: Callable[[int], Awaitable[None]], is_enough: Callable[[], bool], dice: random.Random
) -> None:
    """Read all shards, or as many as it takes; which come first, is left to chance.

    So no shard is every reader's first, and a listing that has no room for all is a fair sample.
    """
    left = dice.sample(range(TAG_SHARDS), TAG_SHARDS)
    failed: set[int] = set()

    async def work() -> None:
        while left and not is_enough():
            shard = left.pop()
            try:
                await read(shard)
            except NoPeersError as error:  # the others may be had all the same, and this one later
                _LOG.debug("shard %d cannot be read: %s", shard, error)
                if shard not in failed:
                    failed.add(shard)
                    left.insert(0, shard)

    async with open_nursery() as nursery:
        for _ in range(_SHARDS_AT_ONCE):
            nursery.start_soon(work)
