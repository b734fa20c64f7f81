"""What Linux shows and lets us set of a FUSE mount, below /proc and /sys.

Nothing here touches the mounted file system itself: it may not answer.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2pfs.fs.limits import DEFAULT_MAX_BACKGROUND, shortest

MOUNTS = Path("/proc/self/mountinfo")
CONNECTIONS = Path("/sys/fs/fuse/connections")
_TIMEOUTS = Path("/proc/sys/fs/fuse")
_USER_LIMIT = Path("/sys/module/fuse/parameters/max_user_bgreq")
_READ_AHEAD = Path("/sys/class/bdi")
# Page-cache reads are background requests, 12 of a whole mount at once if nothing is said.
_MAX_BACKGROUND = 500
# Measured: 1 MiB doubles what a cached file gives (1,300 to 2,400 MB/s); only root may set it.
_READ_AHEAD_KIB = 1_024
# Their drivers have no `flush`: close(2) of a file there neither waits nor fails.
_QUIETLY_CLOSING = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
_ESCAPED = re.compile(rb"\\([0-7]{3})")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A line of mountinfo: the device as `major:minor`, where, and which file system."""

    device: str
    path: Path
    kind: str

    @property
    def minor(self) -> str:
        """What the kernel's control files call the connection."""
        return self.device.partition(":")[2]

    def is_there(self) -> bool:
        """Whether it still is, perhaps below another mount."""
        return any(self == other for other in mounts())


def mounts() -> list[Mounted]:
    """All that this process sees, in the order they were made."""
    return [_parsed(line) for line in MOUNTS.read_bytes().splitlines()]


def mounted_at(path: Path) -> Mounted | None:
    """The file system that is mounted on exactly this path, the topmost."""
    return next((mount for mount in reversed(mounts()) if mount.path == path), None)


def closes_quietly(device: int) -> bool:
    """Whether close(2) says nothing on that device (an `st_dev`); False where it is not known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    return any(each.device == number and each.kind in _QUIETLY_CLOSING for each in mounts())


def kernel_request_timeout(folder: Path = _TIMEOUTS) -> float:
    """Seconds after which the kernel aborts a mount whose answer is late (Linux 6.15 and up)."""
    return shortest(
        *(_number(folder / f"{one}_request_timeout") or 0 for one in ("default", "max"))
    )


def raise_background_limit(mounted: Mounted, connections: Path = CONNECTIONS) -> int:
    """Let many page-cache reads wait at once; how many may, whether that could be raised or not.

    The files belong to the mount's owner; they are missing where nobody has mounted fusectl.
    """
    control = connections / mounted.minor
    wanted = _MAX_BACKGROUND
    if os.geteuid() != 0:
        wanted = min(wanted, _number(_USER_LIMIT) or wanted)
    with suppress(OSError):
        for name in ("max_background", "congestion_threshold"):
            (control / name).write_text(str(wanted))
    return _number(control / "max_background") or DEFAULT_MAX_BACKGROUND


def raise_read_ahead(mounted: Mounted) -> None:
    """Let the kernel read more of a cached file ahead, where we may say so."""
    setting = _READ_AHEAD / mounted.device / "read_ahead_kb"
    if (_number(setting) or _READ_AHEAD_KIB) < _READ_AHEAD_KIB:
        with suppress(OSError):
            setting.write_text(str(_READ_AHEAD_KIB))


def abort_connection(mounted: Mounted, connections: Path = CONNECTIONS) -> None:
    """Fail every request of a mount, waiting or to come: the last resort."""
    try:
        (connections / mounted.minor / "abort").write_text("1")
    except OSError as error:
        log.warning("cannot abort the connection of %s: %s", mounted.path, error)


def _parsed(line: bytes) -> Mounted:
    """See proc(5): optional fields end with a lone `-`."""
    before, _, after = line.partition(b" - ")
    device, path = before.split(b" ")[2:5:2]
    kind = after.split(b" ")[0]
    path = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), path)
    return Mounted(device.decode(), Path(os.fsdecode(path)), os.fsdecode(kind))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
