"""Which files are being hashed: a few at once, the others wait their turn, any can be stopped.

What hashing one means is for `ingest`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# More open at once would only make each of them later; small ones pass large ones.
_MAX_AT_ONCE = 8


class UnderWay:
    """Work by path; never two at once on one path.  `ended` is called when there is room again."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._scopes: dict[bytes, trio.CancelScope] = {}
        self._ready: dict[bytes, None] = {}
        self._last: dict[bytes, None] = {}

    def __contains__(self, path: bytes) -> bool:
        return path in self._scopes or path in self._ready or path in self._last

    def paths(self) -> list[bytes]:
        """What runs or waits its turn, but not what waits for all others."""
        return [*self._scopes, *self._ready]

    def is_running(self, path: bytes) -> bool:
        return path in self._scopes

    def is_stopped(self, path: bytes) -> bool:
        """Whether what runs on a path has been told to stop, also if it ends all the same."""
        scope = self._scopes.get(path)
        return scope is not None and scope.cancel_called

    def has_room(self) -> bool:
        return len(self._scopes) < _MAX_AT_ONCE

    def wait_turn(self, path: bytes) -> None:
        """Have `take_ready` name it when there is room."""
        self._ready[path] = None

    def is_idle(self) -> bool:
        """Whether nothing runs, or is about to."""
        return not self._scopes and not self._ready

    def is_alone(self) -> bool:
        """Whether what runs is all there is to do."""
        return len(self._scopes) == 1 and not self._ready

    def wait_idle(self, path: bytes) -> None:
        """Have `take_ready` name it when there is nothing else to do."""
        self._last[path] = None

    def take_ready(self) -> list[bytes]:
        """Whose turn it is: as many as there is room for."""
        if self.is_idle():
            return _taken(self._last, 1)
        return _taken(self._ready, _MAX_AT_ONCE - len(self._scopes))

    def start(
        self, nursery: trio.Nursery, path: bytes, work: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Run `work(path)` in the nursery, until it ends or is stopped."""
        scope = self._scopes[path] = trio.CancelScope()
        nursery.start_soon(self._run, path, scope, work)

    def stop(self, path: bytes) -> None:
        """Stop what runs on a file, or on any file below a folder."""
        for running, scope in self._scopes.items():
            if running == path or running.startswith(path + b"/"):
                scope.cancel()

    async def _run(
        self, path: bytes, scope: trio.CancelScope, work: Callable[[bytes], Awaitable[None]]
    ) -> None:
        try:
            with scope:
                await work(path)
        finally:
            del self._scopes[path]
            self._ended()


def _taken(waiting: dict[bytes, None], most: int) -> list[bytes]:
    paths = list(islice(waiting, most))
    for path in paths:
        del waiting[path]
    return paths
