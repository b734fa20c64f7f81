"""What of a folder is published: all of the share folder; elsewhere what was chosen by name.

Pure: what is found at a path is handed in.  Paths are relative to the folder.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Publication:
    """A file or a folder outside the share folder that the user published where it lies.

    `path` is absolute and without links, `tags` (in normal form) are those of all its files.
    What it was when it was published it has to stay: a file that became a folder holds what its
    owner has not published.
    """

    path: bytes
    is_folder: bool
    tags: tuple[str, ...] = ()

    @property
    def parent(self) -> bytes:
        """The folder it lies in, with a slash at its end."""
        return self.path[: self.path.rindex(b"/") + 1]

    @property
    def name(self) -> bytes:
        """All that others are told of where it lies."""
        return self.path[len(self.parent) :]

    def holds(self, path: bytes) -> bool:
        """Whether an absolute path is its own, or that of something in it."""
        return path == self.path or (self.is_folder and path.startswith(self.path + b"/"))


class Whole:
    """Everything in the folder, without further tags."""

    def starts(self) -> tuple[bytes, ...]:
        """Where to begin to look; `b""` is the folder itself."""
        return (b"",)

    def holds(self, _path: bytes) -> bool:
        """Whether what may be at a path is meant."""
        return True

    def tags(self, _path: bytes) -> tuple[str, ...]:
        """The tags that a file has besides its own."""
        return ()

    def lost(self, _path: bytes, _found: os.stat_result | None) -> str:
        """Why something that was chosen is not to be had; empty for all else."""
        return ""


class Chosen:
    """Publications that lie in one folder; answers the same as `Whole`."""

    def __init__(self, publications: Iterable[Publication] = ()) -> None:
        self._by_name = {chosen.name: chosen for chosen in publications}

    def choose(self, publication: Publication) -> None:
        """From now on this too, or otherwise than before."""
        self._by_name[publication.name] = publication

    def publications(self) -> list[Publication]:
        return list(self._by_name.values())

    def starts(self) -> tuple[bytes, ...]:
        return tuple(self._by_name)

    def holds(self, path: bytes) -> bool:
        chosen = self._of(path)
        return chosen is not None and chosen.holds(chosen.parent + path)

    def tags(self, path: bytes) -> tuple[str, ...]:
        chosen = self._of(path)
        return () if chosen is None else chosen.tags

    def lost(self, path: bytes, found: os.stat_result | None) -> str:
        chosen = self._by_name.get(path)
        if chosen is None:
            return ""
        if found is None:
            return "it is not there"
        if stat.S_ISDIR(found.st_mode) != chosen.is_folder:
            before, now = ("folder", "is none") if chosen.is_folder else ("file", "is a folder")
            return f"it was published as a {before} and {now} now"
        return ""

    def _of(self, path: bytes) -> Publication | None:
        return self._by_name.get(path.partition(b"/")[0])


Extent = Whole | Chosen
