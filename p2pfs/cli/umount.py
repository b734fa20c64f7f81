"""`p2pfs umount`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from p2pfs.cli.control import running_status, stop_node
from p2pfs.errors import (
    FuseError,
    NotAnsweringError,
    NotFoundError,
    NotRunningError,
    P2pfsError,
)

# Unmounting, saving and leaving the network take a second or two; a busy disk a few more.
_END_SECONDS = 20
_POLL_SECONDS = 0.05


def umount(directory: Path, /) -> None:
    """Unmount DIRECTORY and end the node behind it.

    Parameters
    ----------
    directory
        Where it is mounted.
    """
    place = Path(os.path.abspath(directory))
    try:
        node = running_status()
    except NotRunningError:
        node = None
    except NotAnsweringError as error:
        print(f"p2pfs: {error}", file=sys.stderr)
        node = None
    if node is not None and str(place) in node.mounts:
        stop_node()
        _wait_ended(node.pid)
    elif str(place) in _p2pfs_mounts():
        _detach(place)
    else:
        raise NotFoundError(f"no p2pfs is mounted on {place}")


def _wait_ended(pid: int) -> None:
    deadline = time.monotonic() + _END_SECONDS
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            raise P2pfsError(f"the node (process {pid}) is unmounted but has not ended yet")
        time.sleep(_POLL_SECONDS)


def _detach(place: Path) -> None:
    """Take away what another home's node, or a killed or stuck one, mounted; the node then ends.

    Lazily, for that asks nothing of a process that may not answer.
    """
    command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
    done = subprocess.run([*command, str(place)], capture_output=True, text=True, check=False)  # noqa: S603 fixed words and an own path
    if done.returncode:
        raise FuseError(f"cannot unmount {place}: {done.stderr.strip()}")


def _p2pfs_mounts() -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    fields = (line.split(" ") for line in lines)
    # Spaces and the like stand as octal escapes there.
    return {
        field[4].encode(errors="surrogateescape").decode("unicode_escape")
        for field in fields
        if field[field.index("-") + 1] in {"fuse.p2pfs", "fuse"}
    }
