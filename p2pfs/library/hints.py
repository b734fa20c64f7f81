"""Where to look, and when: what the mount and the kernel say of the folder, gathered by path.

A hint is cheap and may be wrong or come twice: what is at a path is for `ingest` to see.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from p2pfs.library.agenda import Agenda

if TYPE_CHECKING:
    from collections.abc import Callable

# In the time a file must be still nobody brings so many one by one: `cp -r` does.
BATCH_FILES = 16


class Hints:
    """Sync and cheap, for `fs` calls them at every write.  Paths are relative to the folder.

    `stop` is told of each path whose content is no more what it was, with all below it.
    """

    def __init__(self, still_seconds: float, stop: Callable[[bytes], None]) -> None:
        self.still_seconds = still_seconds
        self._stop = stop
        self._writers: Counter[bytes] = Counter()
        self._retagged: set[bytes] = set()
        self._disturbed: set[bytes] = set()
        self._doubted: set[bytes] = set()
        self._explained: dict[bytes, int] = {}
        self.agenda: Agenda[bytes] = Agenda()

    def opened(self, path: bytes) -> None:
        """Somebody opened the file for writing."""
        self._writers[path] += 1
        self.changed(path)

    def closed(self, path: bytes) -> None:
        """One of those who had it open for writing closed it."""
        self._writers[path] -= 1
        if self._writers[path] <= 0:
            del self._writers[path]
        self.agenda.look_unless_due(path)

    def changed(self, path: bytes) -> None:
        """Something was written to, created, cut, or is not what it was."""
        self._stop(path)
        self._disturbed.add(path)
        self.suspect(path)
        self.agenda.look_after(path, self.still_seconds)

    def retagged(self, path: bytes) -> None:
        """The user's own tags, an extended attribute, were changed."""
        self._retagged.add(path)
        self.agenda.look_unless_due(path)

    def doubted(self, path: bytes) -> None:
        """Its content is not, or may not be, what its row says; who is hashing it may go on."""
        self.suspect(path)
        self.agenda.look_unless_due(path)

    def suspect(self, path: bytes) -> None:
        """The same, and it is being looked into: no other tags explain it until it is settled."""
        self._doubted.add(path)
        self._explained.pop(path, None)

    def removed(self, path: bytes) -> None:
        """The name is gone."""
        self._stop(path)
        self.agenda.look(path)

    def renamed(self, old: bytes, new: bytes) -> None:
        """A file, or a folder with all below it, was moved; what was at `new` is gone."""
        for path in [path for path in self._writers if _is_at_or_below(path, old)]:
            self._writers[new + path[len(old) :]] += self._writers.pop(path)
        if old in self._doubted:
            self.suspect(new)
        self._explained.pop(old, None)
        self._retagged.add(new)
        for path in (new, old):  # this order: a row moves if its file is found before it is missed
            self.removed(path)

    def is_open(self, path: bytes) -> bool:
        """Whether somebody has told that he writes to it."""
        return self._writers[path] > 0

    def is_disturbed(self, path: bytes) -> bool:
        """Whether the file may be another than when it was last looked at."""
        return path in self._disturbed

    def batch_comes_in(self) -> bool:
        """Whether somebody is bringing many files at once."""
        return len(self._disturbed) >= BATCH_FILES

    def looked_at(self, path: bytes) -> None:
        """What follows from all that was told so far is found out now."""
        self._disturbed.discard(path)

    def is_retagged(self, path: bytes) -> bool:
        """Whether the file is to be described anew."""
        return path in self._retagged

    def is_only_retagged(self, path: bytes) -> bool:
        """Whether all that was told of it is another name or other attributes."""
        return path in self._retagged and path not in self._doubted

    def described(self, path: bytes) -> None:
        """It was."""
        self._retagged.discard(path)

    def settled(self, path: bytes) -> None:
        """Its content is what its row says, or there is neither."""
        self._doubted.discard(path)
        self._explained.pop(path, None)

    def explained(self, path: bytes, ctime_ns: int) -> None:
        """What was told explains a ctime, if no write is told of until the file has been still.

        What was written before it was looked at may be told only after.
        """
        self._explained[path] = ctime_ns
        self.agenda.look_after(path, self.still_seconds)

    def is_explained(self, path: bytes, ctime_ns: int) -> bool:
        """Whether this ctime was, and nothing was told that makes it doubtful."""
        return self._explained.get(path) == ctime_ns


def _is_at_or_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")
