"""Which paths are never published where they lie, whoever asks for it.

Pure: judged by name, so a path must have no links on its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# What is in the first three is made by the kernel when it is read; the others hold passwords and
# keys, and root could publish them by a slip.
_OF_THE_SYSTEM = (b"/proc", b"/sys", b"/dev", b"/etc", b"/boot")
_HOMES = b"/home"


@dataclass(frozen=True, slots=True)
class OffLimits:
    """Paths are absolute, without links.

    `private` are the node's own folders, with its key; `shared` is where the share folder is seen,
    `homes` are home directories.
    """

    private: tuple[bytes, ...]
    shared: tuple[bytes, ...]
    homes: tuple[bytes, ...]

    def refusal(self, path: bytes, mounts: Iterable[bytes]) -> str | None:
        """Why a path is not published, to be said after its name; None if it may be.

        `mounts` is where p2pfs is mounted now, whichever node's it is.
        """
        above, *parts = path.split(b"/")
        if above or any(part in (b"", b".", b"..") for part in parts):
            return "cannot be published; name a folder in it"
        if any(_is_in(path, above) for above in _OF_THE_SYSTEM):
            return "is the system's"
        if any(_is_in(path, folder) for folder in self.shared):
            return "is in share/, where everything is published already"
        return self._whole_home(path) or self._overlap(path, mounts) or _hidden(parts)

    def _whole_home(self, path: bytes) -> str | None:
        homes = any(_is_in(home, path) for home in (*self.homes, _HOMES))
        if homes or path.rpartition(b"/")[0] == _HOMES:
            return "holds a whole home directory; name the folders in it that others may have"
        return None

    def _overlap(self, path: bytes, mounts: Iterable[bytes]) -> str | None:
        if any(_is_in(path, folder) for folder in self.private):
            return "is one of this node's own folders, where its key and its catalogue are"
        if any(_is_in(folder, path) for folder in self.private):
            return "holds this node's own folders, with its key; name the folders beside them"
        if any(_is_in(folder, path) for folder in self.shared):
            return "holds the share folder, where everything is published already"
        for mount in mounts:
            if _is_in(path, mount):
                return "is in a p2pfs mount, so it is in the network already"
            if _is_in(mount, path):
                return "holds a p2pfs mount; name the folders beside it"
        return None


def _hidden(parts: Iterable[bytes]) -> str | None:
    """Keys and histories lie in folders that begin with a dot, under names that do not."""
    if any(part.startswith(b".") for part in parts):
        return "is hidden, by a name that begins with a dot; nothing hidden is ever published"
    return None


def _is_in(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
