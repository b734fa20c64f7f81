"""Every failure a user can meet, each with its errno, its exit code and its advice.

No handling belongs here: `fs.operations` turns these into errnos, `cli` into exit codes.
An errno is what the kernel hands the caller.
"""

from __future__ import annotations

import errno as _errno
from typing import ClassVar

# What a process tells a script; a signal N that ends it is 128 + N, as in a shell.
EXIT_CODES = {
    0: "done",
    1: "failed, for a reason that has no code of its own",
    2: "a command, a flag or a setting that cannot mean anything",
    3: "not found: no such file, content, setting or mount; a search without results",
    4: "nobody could be asked, or no answer came in time; trying again may help",
    5: "FUSE or a permission stands in the way of mounting",
    6: "nothing but content that does not match its hash was to be had, or is held here",
    7: "no space on the disk, or the quota is used up",
    8: "no node of this home is running",
    9: "denied: what is asked for may not be done",
}


class P2pfsError(Exception):
    """What happened, and why, is the message; what to do about it is `advice`."""

    errno: ClassVar[int] = _errno.EIO
    exit_code: int = 1
    advice: ClassVar[str] = ""

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}; {self.advice}" if self.advice else message


class MalformedError(P2pfsError):
    """Bytes or text from outside are not what their format demands."""

    errno = _errno.EINVAL


class UsageError(P2pfsError):
    """A command, flag or setting that cannot mean anything."""

    errno = _errno.EINVAL
    exit_code = 2


class NotFoundError(P2pfsError):
    errno = _errno.ENOENT
    exit_code = 3


class NoProvidersError(P2pfsError):
    """The search ended, and nobody offers this content."""

    errno = _errno.ENODATA
    exit_code = 4
    advice = "try again when somebody who has it is online"


class TimedOutError(P2pfsError):
    """The search or the transfer did not end within the deadline."""

    errno = _errno.ETIMEDOUT
    exit_code = 4
    advice = "try again; `p2pfs status` shows the peers"


class UnreachableError(P2pfsError):
    """There are providers, and none of them could be reached."""

    errno = _errno.EHOSTUNREACH
    exit_code = 4
    advice = "check the network; `p2pfs status` shows the peers"


class IntegrityError(P2pfsError):
    """Nothing but blocks that do not match their hash was to be had."""

    errno = _errno.EIO
    exit_code = 6
    advice = "nothing wrong was kept; `p2pfs status` names the peers that sent it"


class FuseError(P2pfsError):
    """Mounting is not possible, or not allowed, here."""

    errno = _errno.EACCES
    exit_code = 5


class NotPermittedError(P2pfsError):
    """The system does not let this user read or write something."""

    errno = _errno.EACCES
    exit_code = 5


class ExistsError(P2pfsError):
    """Something else is there already, and nobody has said that it may go."""

    errno = _errno.EEXIST
    advice = "name another place with -o, or replace it with --force"


class CutError(P2pfsError):
    """An answer of the node broke off; the rest can be asked for."""

    advice = "the same command goes on from here"


class NoSpaceError(P2pfsError):
    errno = _errno.ENOSPC
    exit_code = 7
    advice = "free some space, or raise the limit"


class NotRunningError(P2pfsError):
    errno = _errno.ENOTCONN
    exit_code = 8
    advice = "start one with `p2pfs mount DIR`"


class NotAnsweringError(P2pfsError):
    """A node of this home runs, and its control socket is of no use."""

    exit_code = 4
    advice = "its log may say why; `p2pfs umount DIR` detaches its mount all the same"


class AnsweredError(P2pfsError):
    """What the running node answered a command: its message says what to do already."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ReadOnlyError(P2pfsError):
    errno = _errno.EROFS
    exit_code = 9
    advice = "only share/ can be written"


class RefusedError(P2pfsError):
    """What is asked for may not be done, whoever asks."""

    errno = _errno.EPERM
    exit_code = 9


class NoPeersError(P2pfsError):
    """No node of the network could be asked."""

    errno = _errno.EHOSTUNREACH
    exit_code = 4
    advice = "start this one with --peer HOST:PORT to name one"


def system_failure(error: OSError) -> P2pfsError:
    """What the system refused, and of which file: a full disk, a folder that may not be read."""
    named = f"{error.filename}: " if error.filename else ""
    return P2pfsError(f"{named}{error.strerror or error}")
