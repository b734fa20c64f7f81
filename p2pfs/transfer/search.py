"""When a download looks for more providers, and the one lookup it then runs, beside all else."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2pfs.dht.overlay import Provider

    FindProviders = Callable[[Callable[[Provider], None]], Awaitable[None]]

# With fewer sound peers than this, a large transfer looks for more: who begins to read the same at
# the same time is a peer as well.
_ENOUGH_PEERS = 8
# A lookup costs some hundred datagrams: not for what one peer sends in a moment.
_WORTH_BYTES = 4 * 1024 * 1024
# Soon at first, when others may have begun as well and said so (see `library.seeding`); twice as
# long each time.
_FIRST_AGAIN_SECONDS = 0.5
_LAST_AGAIN_SECONDS = 60.0
# Readers that find nobody to ask do not each start a lookup right after the last.
_AGAIN_IN_NEED_SECONDS = 5.0


class Search:
    """A lookup for the providers of one root; what it finds is handed on as it comes."""

    def __init__(self, find: FindProviders, found: Callable[[Provider], None]) -> None:
        self.error: P2pfsError | None = None
        self._find = find
        self._found = found
        self._ended_at = -inf
        self._again_seconds = _FIRST_AGAIN_SECONDS / 2  # doubled with each lookup

    def is_due(self, sound_peers: int, missing_bytes: int, now: float) -> bool:
        """Whether to look now: nobody to ask, or too few for much that is missing."""
        if not missing_bytes:
            return False
        quiet = now - self._ended_at
        if sound_peers == 0:
            return quiet >= _AGAIN_IN_NEED_SECONDS
        few = sound_peers < _ENOUGH_PEERS and missing_bytes >= _WORTH_BYTES
        return few and quiet >= self._again_seconds

    async def run(self) -> None:
        """Look until the lookup is complete, or fails (see `error`)."""
        try:
            await self._find(self._found)
            self.error = None
        except P2pfsError as error:
            self.error = error
        finally:
            self._again_seconds = min(2 * self._again_seconds, _LAST_AGAIN_SECONDS)
            self._ended_at = trio.current_time()
