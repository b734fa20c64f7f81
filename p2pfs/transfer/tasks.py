"""The tasks of one download: each can be cancelled by name, and their end can be waited for.

What they do, and what follows from it, is for `download`.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING

import trio

from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

_log = logging.getLogger(__name__)


class Tasks:
    """Tasks in a nursery that outlives them, at most one of a name.

    `ended` is called after each that was not cancelled from outside; before it, `failed` with
    what a task did not handle itself, since it must not end the nursery.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        ended: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._nursery = nursery
        self._ended = ended
        self._failed = failed
        self._scopes: dict[Hashable, trio.CancelScope] = {}
        self.is_closed = False
        self._all_ended = trio.Event()

    def __contains__(self, name: Hashable) -> bool:
        return name in self._scopes

    def start(
        self,
        name: Hashable,
        task: Callable[..., Awaitable[None]],
        *arguments: object,
        deadline: float = inf,
    ) -> None:
        """Run a task; at its deadline it is cancelled."""
        scope = self._scopes[name] = trio.CancelScope(deadline=deadline)
        self._nursery.start_soon(self._run, name, scope, task, arguments)

    def cancel(self, name: Hashable) -> None:
        """Cancel a task if it runs; it may take a moment to end."""
        if name in self._scopes:
            self._scopes[name].cancel()

    def set_deadline(self, name: Hashable, deadline: float) -> None:
        self._scopes[name].deadline = deadline

    def close(self) -> None:
        """Cancel all tasks; none may be started any more."""
        self.is_closed = True
        for scope in self._scopes.values():
            scope.cancel()
        if not self._scopes:
            self._all_ended.set()

    async def wait_ended(self) -> None:
        """Until the last task of those closed has ended."""
        await self._all_ended.wait()

    async def _run(
        self,
        name: Hashable,
        scope: trio.CancelScope,
        task: Callable[..., Awaitable[None]],
        arguments: tuple[object, ...],
    ) -> None:
        try:
            with scope:
                await task(*arguments)
        except P2pfsError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 a fault of one file must not end the node
            _log.exception("a task of a download failed")
            self._failed(error)
        finally:
            del self._scopes[name]
            if self.is_closed and not self._scopes:
                self._all_ended.set()
        self._ended()
