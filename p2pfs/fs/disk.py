"""Calls on the disk behind `share/`, in threads of their own, for nodes instead of paths."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeVar

import trio

from p2pfs.concurrency import in_thread
from p2pfs.fs.folder import Location
from p2pfs.fs.tree import Node, Shared, Tree

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# A share on a disk that hangs may take this many of trio's threads, never those of other work.
_THREADS = 16


class Disk:
    """Knows where the nodes below `root`, the share folder's own, are to be found."""

    def __init__(self, tree: Tree, root: Node) -> None:
        self._tree = tree
        self._root = root
        self._limiter = trio.CapacityLimiter(_THREADS)

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """`call` with the locations of nodes; again if one was renamed meanwhile."""
        while True:
            placed = self._placed(arguments)
            try:
                return await self.run_once(call, *placed)
            except OSError as error:
                if error.errno != errno.ESTALE or placed == self._placed(arguments):
                    raise

    async def run_once(self, call: Callable[..., T], *arguments: object) -> T:
        """`call` in a thread.

        It is given up on only when the mount ends: a disk that hangs must not hold that up.
        """
        return await in_thread(self._limiter, call, *arguments)

    def path(self, node: Node) -> bytes | None:
        """Where an entry is below the share folder, if it has a name."""
        paths = self._tree.paths(node, self._root)
        return b"/".join(paths[0]) if paths else None

    def path_in(self, parent: Node, name: bytes) -> bytes:
        """Where `parent/name` is."""
        above = self.path(parent)
        return above + b"/" + name if above else name

    def _placed(self, arguments: tuple[object, ...]) -> list[object]:
        return [self._location(one) if isinstance(one, Node) else one for one in arguments]

    def _location(self, node: Node) -> Location:
        assert isinstance(node.thing, Shared)  # noqa: S101 only such nodes come here
        paths = tuple(self._tree.paths(node, self._root))
        return Location(paths, (node.thing.device, node.thing.number))
