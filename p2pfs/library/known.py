"""Which state of which file was hashed, in memory: by path, and by inode to follow renames.

The rows themselves are in `store.shares`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.store.files import Stamp
    from p2pfs.store.shares import Share


class Known:
    """A stamp a path; of hard links to one file the last is found by its stamp."""

    def __init__(self) -> None:
        self._stamps: dict[bytes, Stamp] = {}
        self._paths: dict[Stamp, bytes] = {}

    def snapshot(self) -> dict[bytes, Stamp]:
        """A copy for another thread."""
        return dict(self._stamps)

    def path_of(self, stamp: Stamp) -> bytes | None:
        return self._paths.get(stamp)

    def remember(self, share: Share) -> None:
        self.forget(share.path)
        stamp = share.ino, share.size, share.mtime_ns
        self._stamps[share.path] = stamp
        self._paths[stamp] = share.path

    def forget(self, path: bytes) -> None:
        stamp = self._stamps.pop(path, None)
        if stamp is not None and self._paths.get(stamp) == path:
            del self._paths[stamp]
