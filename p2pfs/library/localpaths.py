"""Where this machine has what is never published: own folders, home directories, p2pfs mounts.

What follows from that for a path is judged in `offlimits`.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import psutil

from p2pfs.library.offlimits import OffLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from p2pfs.settings import Places

_KIND = "fuse.p2pfs"


def refusals(places: Places, seen: Iterable[Path]) -> Callable[[bytes], str | None]:
    """What says of a path why it is not published, `seen` being where the share folder is.

    It reads the table of mounts and asks no file system, so that none can keep it waiting.
    """
    own = (places.config, places.data, places.cache, places.state, places.runtime)
    limits = OffLimits(
        private=tuple(_real(folder) for folder in own),
        shared=tuple(os.fsencode(folder) for folder in seen),
        homes=tuple(_homes()),
    )
    return lambda path: limits.refusal(path, _mounts())


def _homes() -> Iterable[bytes]:
    """The user's, by the environment and by the system's table."""
    yield _real(os.path.expanduser("~"))
    try:
        yield _real(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a container's user may have no entry
        return


def _mounts() -> list[bytes]:
    parts = psutil.disk_partitions(all=True)
    return [os.fsencode(part.mountpoint) for part in parts if part.fstype == _KIND]


def _real(path: str | Path) -> bytes:
    return os.fsencode(os.path.realpath(path))
