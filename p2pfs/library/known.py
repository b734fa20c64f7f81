"""Which state of which file was hashed, in memory: by path, and by inode to follow renames.

The rows themselves are in `store.shares`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.store.files import ExactStamp, Stamp
    from p2pfs.store.share import Share


class Known:
    """A stamp a path; of hard links to one file the last is found by its stamp."""

    def __init__(self) -> None:
        self._stamps: dict[bytes, ExactStamp] = {}
        self._paths: dict[Stamp, dict[bytes, None]] = {}

    def snapshot(self) -> dict[bytes, ExactStamp]:
        """A copy for another thread."""
        return dict(self._stamps)

    def path_of(self, stamp: Stamp) -> bytes | None:
        return next(reversed(self._paths.get(stamp, {})), None)

    def other_names(self, path: bytes) -> list[bytes]:
        """Of the file that was at a path: its other hard links."""
        exact = self._stamps.get(path)
        names = self._paths[exact[:3]] if exact is not None else ()
        return [name for name in names if name != path]

    def remember(self, share: Share) -> None:
        self.forget(share.path)
        self._stamps[share.path] = share.exact_stamp
        self._paths.setdefault(share.stamp, {})[share.path] = None

    def forget(self, path: bytes) -> None:
        exact = self._stamps.pop(path, None)
        if exact is None:
            return
        names = self._paths[exact[:3]]
        del names[path]
        if not names:
            del self._paths[exact[:3]]
