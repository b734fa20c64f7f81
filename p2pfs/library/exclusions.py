"""Which paths below the share folder are not published, and why.

Pure: judged by name alone.  Links and special files are for `ingest`, which sees their stat.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

IGNORE_FILE = b".p2pfsignore"
# One line of a pattern file matters, not a file somebody misnamed.
MAX_IGNORE_BYTES = 64 * 1024

# What editors, browsers and databases write beside or before the real file.
_TEMPORARY_SUFFIXES = (
    b"~",
    b".part",
    b".tmp",
    b".crdownload",
    b".swp",
    b"-journal",
    b"-wal",
    b"-shm",
)
# vim creates this one to see whether it may write to the directory.
_VIM_PROBE = b"4913"
# A p2pfs node's, this one's or another's: whoever has it is that node.
_NODE_KEY = b"identity.key"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of an ignore file, as in `.gitignore`; the last that matches decides."""

    parts: tuple[bytes, ...]
    anchored: bool
    directories_only: bool
    excludes: bool

    def matches(self, parts: tuple[bytes, ...]) -> bool:
        """Whether it names a file, or a directory above it; `parts` start at the ignore file's."""
        starts = (0,) if self.anchored else range(len(parts))
        return any(self._matches_at(parts, start) for start in starts)

    def _matches_at(self, parts: tuple[bytes, ...], start: int) -> bool:
        stop = start + len(self.parts)
        if stop > len(parts) or (self.directories_only and stop == len(parts)):
            return False
        return all(map(fnmatchcase, parts[start:stop], self.parts))


def parse_ignore_file(raw: bytes) -> tuple[Pattern, ...]:
    """The patterns of a `.p2pfsignore`: a name, or a path from its directory; `*`, `?`, `[…]`.

    `#` starts a comment, `/` at the end means directories, `!` at the start takes back.
    """
    patterns = []
    for line in raw[:MAX_IGNORE_BYTES].splitlines():
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        excludes = not text.startswith(b"!")
        text = text.removeprefix(b"!")
        parts = tuple(filter(None, text.split(b"/")))
        if parts:
            anchored = b"/" in text.rstrip(b"/")
            patterns.append(Pattern(parts, anchored, text.endswith(b"/"), excludes))
    return tuple(patterns)


def exclusion(path: bytes, ignores: Mapping[bytes, Iterable[Pattern]]) -> str | None:
    """Why a path, relative to the share folder, is not published; None if it is.

    `ignores` maps a directory ("" for the share folder itself) to the patterns in force there.
    """
    parts = tuple(path.split(b"/"))
    if any(part.startswith(b".") for part in parts):
        return "hidden"
    if _is_temporary(parts[-1].lower()):
        return "a temporary file"
    if parts[-1] == _NODE_KEY:
        return "a node's private key"
    ignored = False
    for depth in range(len(parts)):
        for pattern in ignores.get(b"/".join(parts[:depth]), ()):
            if pattern.matches(parts[depth:]):
                ignored = pattern.excludes
    return "named in .p2pfsignore" if ignored else None


def _is_temporary(name: bytes) -> bool:
    return (
        name.endswith(_TEMPORARY_SUFFIXES)
        or name == _VIM_PROBE
        or (len(name) > 1 and name.startswith(b"#") and name.endswith(b"#"))
    )
