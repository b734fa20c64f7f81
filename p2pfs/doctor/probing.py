"""How this machine is, as far as a node is concerned: facts for `judging`.

Nothing is changed, and nothing here waits for what may not answer: a mount is asked in a thread
that is left behind.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import os
import resource
import socket
import stat
import threading
import time
from importlib import metadata
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from p2pfs.doctor.facts import Answer, Clock, Device, Folder, Fuse, Port
from p2pfs.fs.kernel import mounts
from p2pfs.peers.interfaces import lan_ips

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2pfs.addresses import Endpoint

_DEVICE = "/dev/fuse"
_KINDS = {"fuse.p2pfs"}
_PROCESS = Path("/proc/self/status")
_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
# A mount that works answers from memory.
_MOUNT_SECONDS = 2.0
# adjtimex(2): the clock is not synchronised.
_TIME_ERROR = 5
_TIMEX_BYTES = 512  # more than any kernel's struct timex


def probe_fuse() -> Fuse:
    """What mounting needs."""
    path = which("fusermount3")
    is_root, error = os.geteuid() == 0, _import_error("pyfuse3")
    return Fuse(_device(), path, _is_setuid(path), is_root, error, _stays_weak())


def _device() -> Device:
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Device.ABSENT
    except OSError as error:
        missing = {errno.ENODEV, errno.ENXIO}
        return Device.UNKNOWN_TO_KERNEL if error.errno in missing else Device.FORBIDDEN
    return Device.OPENS


def _is_setuid(path: str | None) -> bool:
    if path is None:
        return False
    found = os.stat(path)
    return found.st_uid == 0 and bool(found.st_mode & stat.S_ISUID)


def _stays_weak() -> bool:
    try:
        return "\nNoNewPrivs:\t1\n" in _PROCESS.read_text()
    except OSError:
        return False


def _import_error(name: str) -> str:
    try:
        importlib.import_module(name)
    except (ImportError, OSError) as error:
        return str(error)
    return ""


def probe_mounts() -> dict[str, Answer]:
    """The mounts of p2pfs that are there, whoever's, and what each answers."""
    return {str(mount.path): _ask(mount.path) for mount in mounts() if mount.kind in _KINDS}


def _ask(path: Path) -> Answer:
    said: list[Answer] = []

    def ask() -> None:
        try:
            os.statvfs(path)  # goes to the process behind it, where a stat may come from memory
        except OSError as error:
            # Another user's is none of our business, and shows by EACCES that it is alive.
            said.append(Answer.DEAD if error.errno == errno.ENOTCONN else Answer.ALIVE)
        else:
            said.append(Answer.ALIVE)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_MOUNT_SECONDS)
    return said[0] if said else Answer.SILENT


def probe_ports(addresses: Iterable[Endpoint]) -> list[Port]:
    """Whether each address is free for UDP and TCP; 0 stands for any port, which is."""
    return [Port(str(address), _errno_of_binding(address)) for address in addresses]


def _errno_of_binding(address: Endpoint) -> int:
    family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        try:
            with socket.socket(family, kind) as sock:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:  # as a server does: what just ended is no hindrance
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address.ip, address.port))
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def probe_lan(listen: Iterable[Endpoint]) -> list[str]:
    """The addresses from which LAN discovery can reach others."""
    return list(lan_ips([address.ip for address in listen]))


def probe_folder(role: str, path: Path) -> Folder:
    """A folder, or the nearest one above it that is there."""
    there = next(place for place in (path, *path.parents) if place.exists())
    disk = os.statvfs(there)
    return Folder(
        role,
        str(there),
        os.access(there, os.W_OK | os.X_OK),
        disk.f_bavail * disk.f_frsize,
        disk.f_favail if disk.f_files else None,  # btrfs counts none
    )


def probe_clock() -> Clock:
    """The time, and whether the kernel thinks that it is right."""
    return Clock(time.time(), _synchronised())


def _synchronised() -> bool | None:
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def probe_descriptors() -> int:
    """How many files a process of this user may have open; a node raises its own limit to that."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return most if most != resource.RLIM_INFINITY else 1 << 30


def probe_watches() -> int | None:
    """How many folders a user's programs may watch."""
    try:
        return int(_WATCHES.read_text())
    except (OSError, ValueError):
        return None


def probe_libraries(names: Iterable[str]) -> dict[str, str | None]:
    """The version of each installed package, None for one that is missing."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
