"""Where the verified bytes of one request go: into the object, and the download is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.content.unixfs import FileNode
    from p2pfs.store.object import Object
    from p2pfs.transfer.checksum import Checksum


class Landing:
    """A sink for the client; `landed` is called on the loop after the object knows."""

    def __init__(
        self, held: Object, checksum: Checksum, landed: Callable[[int, int], None]
    ) -> None:
        self._object = held
        self._checksum = checksum
        self._landed = landed

    def node(self, cid: Cid) -> FileNode | None:
        return self._object.node(cid)

    def write(self, start: int, data: memoryview) -> None:
        self._object.write(start, data)
        self._checksum.add(start, data)

    def landed(self, start: int, stop: int) -> None:
        self._object.landed(start, stop)
        self._landed(start, stop)

    async def keep_nodes(self, nodes: Sequence[tuple[Cid, bytes]]) -> None:
        await self._object.keep_nodes(nodes)
