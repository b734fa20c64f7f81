"""Where the verified bytes of one request go: into the object, and the download is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.content.intervals import Intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.content.unixfs import FileNode
    from p2pfs.store.leases import Lease
    from p2pfs.store.object import Object
    from p2pfs.transfer.checksum import Checksum


class Landing:
    """A sink for the client; `landed` is called on the loop after the object knows.

    What is written is leased until it is closed, and counts for nothing if it has not landed then.
    """

    def __init__(
        self, held: Object, lease: Lease, checksum: Checksum, landed: Callable[[int, int], None]
    ) -> None:
        self._object = held
        self._lease = lease
        self._written = Intervals()
        self._checksum = checksum
        self._landed = landed

    def node(self, cid: Cid) -> FileNode | None:
        return self._object.node(cid)

    def write(self, start: int, data: memoryview) -> None:
        stop = start + len(data)
        self._lease.widen(start, stop)  # a leaf can be longer than what was asked for
        self._written.add(start, stop)
        self._object.write(start, data)
        self._checksum.add(start, data)

    def landed(self, start: int, stop: int) -> None:
        self._object.landed(start, stop)
        self._landed(start, stop)

    async def keep_nodes(self, nodes: Sequence[tuple[Cid, bytes]]) -> None:
        await self._object.keep_nodes(nodes)

    def close(self) -> None:
        """No more will come."""
        self._object.abandon(self._written)
