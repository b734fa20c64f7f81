"""How long a file must still be left alone before it is hashed.

Pure: both clocks are handed in, that of the files (UNIX time) and one that is never set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.store.files import stamp_of

if TYPE_CHECKING:
    import os

    from p2pfs.store.files import Stamp

# A file that changes all the time is hashed half of the time at most, and after a minute anyway.
_MAX_STILL_SECONDS = 60.0
_NANOSECONDS = 1e9


class Stillness:
    """Remembers what hashing took last time, and since when files with odd times are the same."""

    def __init__(self, still_seconds: float) -> None:
        self.still_seconds = still_seconds
        self._hash_seconds: dict[bytes, float] = {}
        self._seen: dict[bytes, tuple[Stamp, float]] = {}

    def seconds_to_wait(
        self, path: bytes, found: os.stat_result, clock: float, monotonic: float
    ) -> float:
        """0 for a file that has been still for a second, or for as long as hashing took.

        By the file's own times; or, if they are in the future, by what was seen.
        """
        hashing = self._hash_seconds.get(path, 0.0)
        still = min(max(self.still_seconds, hashing), _MAX_STILL_SECONDS)
        age = clock - max(found.st_ctime_ns, found.st_mtime_ns) / _NANOSECONDS
        if age >= 0:
            return max(0.0, still - age)
        stamp = stamp_of(found)
        seen, since = self._seen.get(path, (None, 0.0))
        if seen != stamp:
            since = monotonic
            self._seen[path] = stamp, since
        return max(0.0, since + still - monotonic)

    def hashed(self, path: bytes, seconds: float) -> None:
        """The file was hashed, which took so long."""
        self._seen.pop(path, None)
        self._hash_seconds[path] = seconds

    def forget(self, path: bytes) -> None:
        """There is no such file any more."""
        self._seen.pop(path, None)
        self._hash_seconds.pop(path, None)
