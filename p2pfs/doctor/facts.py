"""What the probes bring home and the judgements are made of.

Pure values: how they are found out is for `probing`, what they mean for `judging`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Device(Enum):
    """How /dev/fuse is."""

    ABSENT = auto()
    FORBIDDEN = auto()
    UNKNOWN_TO_KERNEL = auto()
    OPENS = auto()


@dataclass(frozen=True, slots=True)
class Fuse:
    """`fusermount` is its path; `library_error` why pyfuse3 cannot be imported.

    `stays_weak`: no program that this process starts gets the rights of its owner.
    """

    device: Device
    fusermount: str | None
    is_setuid: bool
    is_root: bool
    library_error: str = ""
    stays_weak: bool = False


class Answer(Enum):
    """What a mount says when it is asked."""

    ALIVE = auto()
    DEAD = auto()
    SILENT = auto()


@dataclass(frozen=True, slots=True)
class Port:
    """An address to listen on; `error` is the errno of trying, 0 if it is free."""

    address: str
    error: int = 0


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that a node needs, or the nearest above it that is there.

    Some file systems make inodes as they are needed: None.
    """

    role: str
    path: str
    writable: bool
    free_bytes: int
    free_inodes: int | None


@dataclass(frozen=True, slots=True)
class Clock:
    """UNIX seconds, and whether the kernel is told the time by another clock; None: unknown."""

    now: float
    synchronised: bool | None


@dataclass(frozen=True, slots=True)
class Running:
    """The node of this home: not there, there without an answer, or as it says."""

    there: bool
    error: str = ""
    address: str | None = None
    mode: str = ""
    contacts: int = 0
    wrong: int = 0
    problem: str = ""
    """Why nobody answers it, or what else is odd, as far as it knows."""
    routers: tuple[tuple[str, str], ...] = ()
    """Each delegated router, and why it failed last."""
    clock_behind: float | None = None
    """Seconds behind its peers' median."""
    network: str = ""
    private: bool = False
    noticing: str = ""
    """Why it notices late what changes behind the mount."""
