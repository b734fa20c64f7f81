"""What each fetched root takes of the disk, in memory: the sum, and whose turn it is to go.

Pure: which of them may go is decided in `room`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from p2pfs.content.cid import Cid


class Usage:
    """Bytes of disk by content, the least recently used first; some 200 bytes of memory each."""

    def __init__(self) -> None:
        self.total = 0
        self._bytes: OrderedDict[Cid, int] = OrderedDict()

    def set(self, cid: Cid, disk_bytes: int) -> None:
        """What a content takes from now on."""
        self.total += disk_bytes - self._bytes.get(cid, 0)
        self._bytes[cid] = disk_bytes

    def add(self, cid: Cid, disk_bytes: int) -> None:
        """So much more of it, and it was used now."""
        self.set(cid, self._bytes.get(cid, 0) + disk_bytes)
        self.touch(cid)

    def touch(self, cid: Cid) -> None:
        """It was used now."""
        if cid in self._bytes:
            self._bytes.move_to_end(cid)

    def remove(self, cid: Cid) -> int:
        """It takes nothing any more; what it took."""
        gone = self._bytes.pop(cid, 0)
        self.total -= gone
        return gone

    def __len__(self) -> int:
        return len(self._bytes)

    def __iter__(self) -> Iterator[Cid]:
        """As of now, the least recently used first."""
        return iter(list(self._bytes))
