"""Opening a file below a folder, and nowhere else: no `..`, no symbolic link on the way.

Blocking; the folder itself may be named through links, for that is its owner's own word.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_beneath(folder: Path, path: bytes) -> int:
    """A descriptor for reading the file at `path` (relative, `/` between names).

    Raises OSError; FileNotFoundError for a path that does not stay below the folder.
    """
    names = path.split(b"/")
    if any(name in (b"", b".", b"..") for name in names):
        raise FileNotFoundError(f"not a path below {folder}: {path!r}")
    here = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            below = os.open(name, _STEP, dir_fd=here)
            os.close(here)
            here = below
        return os.open(names[-1], _FILE, dir_fd=here)
    finally:
        os.close(here)
