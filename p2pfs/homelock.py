"""One home, one process: the lock that a node holds for as long as it runs.

The kernel lets it go with the process, however that ends; so it is never stale.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def holding(home: Path, place: Path | None = None) -> Iterator[None]:
    """Keep a home for this process; raises P2pfsError that says where another one has mounted it.

    `place` is where this process mounts it.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(home / "lock", "a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            where = lock.read().decode(errors="replace").strip()
            raise P2pfsError(
                f"a node of {home} is running already, {where} ends it; "
                "another P2PFS_HOME makes a second one"
            ) from error
        lock.truncate(0)
        lock.write(f"{_where(place)}\n".encode())
        lock.flush()
        yield


def _where(place: Path | None) -> str:
    if place is None:
        return f"without a mount: `kill {os.getpid()}`"
    return f"mounted on {place}: `p2pfs umount {shlex.quote(str(place))}`"
