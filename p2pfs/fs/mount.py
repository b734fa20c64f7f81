"""Mounting, healing what a dead process left behind, and unmounting, which always succeeds.

What the kernel asks once it is mounted is for `operations`; what the kernel allows is read here.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pyfuse3
import trio

from p2pfs.concurrency import open_nursery
from p2pfs.errors import FuseError, UsageError
from p2pfs.fs.kernel import (
    Mounted,
    abort_connection,
    kernel_request_timeout,
    mounted_at,
    raise_background_limit,
    raise_read_ahead,
)
from p2pfs.fs.limits import Deadlines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from p2pfs.fs.operations import Operations

FILE_SYSTEM = "p2pfs"
# default_permissions: the kernel checks modes, so that `share/` follows the real files'.
_OPTIONS = frozenset(
    {"default_permissions", f"fsname={FILE_SYSTEM}", f"subtype={FILE_SYSTEM}", "nosuid", "nodev"}
)
# pyfuse3's 99 are used up by as many waiting reads, and then `stat` waits too; a task is 10 KiB.
_MAX_TASKS = 1_000
# The time a dead or dying mount gets to answer before it counts as hanging.
_PROBE_SECONDS = 5.0
# The time the kernel's first request needs is some ms; more means that it will not come.
_FIRST_REQUEST_SECONDS = 20.0
# What is being answered when we unmount may end, disk writes first of all.
_GRACE_SECONDS = 1.0
# Whatever holds out longer does not get to keep the mount.
_STUCK_SECONDS = 2.0
_LOOK_EVERY_SECONDS = 1.0
_STDERR = 2
_NO_MOUNT_NEEDED = "`p2pfs node` works without a mount"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount in use: where it is, and how many reads the kernel may have under way."""

    path: Path
    max_background: int
    _over: trio.Event

    async def wait_unmounted(self) -> None:
        """Return when somebody else has unmounted it."""
        await self._over.wait()


def keep_apart(place: Path, share: Path) -> None:
    """Raises UsageError for a mount in the share folder or over it, whatever links lead there."""
    mounted = place.parent.resolve() / place.name  # a dead mount there may not answer
    folder = share.resolve()
    if mounted.is_relative_to(folder):
        raise UsageError(f"{place} lies in the share folder {share}; mount elsewhere")
    if folder.is_relative_to(mounted):
        raise UsageError(f"the share folder {share} lies in {place}; mount elsewhere")


@asynccontextmanager
async def open_mount(directory: Path, operations: Operations) -> AsyncIterator[Mount]:
    """Mount `operations` on `directory`; unmounted at the end within seconds, come what may.

    A directory that is not there is made, and removed again at the end; a dead mount is healed.
    Raises FuseError, with advice.  One mount a process.
    """
    path, made = await _prepared(directory)
    try:
        _init(path, operations)
        session = _Session(path)
        try:
            async with open_nursery() as nursery:
                nursery.start_soon(session.serve)
                nursery.start_soon(operations.reads.watch)
                nursery.start_soon(session.watch)
                try:
                    yield await _ready(path, operations, session)
                finally:
                    with trio.CancelScope(shield=True):
                        await session.end()
                    nursery.cancel_scope.cancel()
        finally:
            session.close()
    finally:
        if made:
            with suppress(OSError):  # in use again, or filled with something: then it stays
                path.rmdir()


class _Session:
    """One run of pyfuse3's main loop, and its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mounted = mounted_at(path)
        self._scope = trio.CancelScope(shield=True)
        self._served = trio.Event()
        self.over = trio.Event()

    @property
    def mounted(self) -> Mounted | None:
        """Its line of mountinfo."""
        return self._mounted

    async def serve(self) -> None:
        """Answer the kernel until the mount is gone or `end` is called.

        Shielded: a cancellation from outside comes through `end`, which lets answers be finished.
        """
        try:
            with self._scope:
                await pyfuse3.main(max_tasks=_MAX_TASKS)
        except OSError as error:
            raise FuseError(f"the mount on {self._path} broke: {error}") from error
        finally:
            self._served.set()
            self.over.set()

    async def watch(self) -> None:
        """Notice that somebody else has unmounted: a waiting handler keeps `main` from doing so."""
        while self._is_mounted():  # noqa: ASYNC110 mountinfo wakes nobody in trio
            await trio.sleep(_LOOK_EVERY_SECONDS)
        self.over.set()

    async def end(self) -> None:
        """Stop serving: first gently, then whatever holds out."""
        pyfuse3.terminate()
        with trio.move_on_after(_GRACE_SECONDS):
            await self._served.wait()
        self._scope.cancel()
        with trio.move_on_after(_STUCK_SECONDS):
            await self._served.wait()
        if not self._served.is_set() and self._mounted is not None:
            log.error("a request to %s cannot be ended; its callers get an error", self._path)
            abort_connection(self._mounted)
            await _detach(self._path)

    def close(self) -> None:
        """Give the kernel its descriptor back, which fails all that still waits, and unmount."""
        # Unmounted already: then that path may show another mount, which is none of ours.
        pyfuse3.close(unmount=self._is_mounted())
        if self._is_mounted():
            log.error("%s is still mounted; `fusermount3 -uz %s` ends it", self._path, self._path)

    def _is_mounted(self) -> bool:
        return self._mounted is not None and self._mounted.is_there()


async def _prepared(directory: Path) -> tuple[Path, bool]:
    """Where to mount, without links on the way, and whether the directory was made for it."""
    path, state = await _examined(directory)
    if state is _State.DEAD:
        log.warning("%s is what a dead process left mounted; unmounting it first", path)
        await _detach(path)
        path, state = await _examined(directory)
    if state is _State.DEAD:
        raise FuseError(f"{path} is a dead mount; `fusermount3 -uz {path}` may end it")
    if state is _State.ABSENT:
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise FuseError(f"{path} cannot be made: {error.strerror}") from error
    return path, state is _State.ABSENT


class _State(Enum):
    EMPTY = auto()
    ABSENT = auto()
    DEAD = auto()


async def _examined(directory: Path) -> tuple[Path, _State]:
    """What is there; raises FuseError if it cannot be mounted on."""
    with trio.move_on_after(_PROBE_SECONDS):
        return await trio.to_thread.run_sync(_examine, directory, abandon_on_cancel=True)
    raise FuseError(f"{directory} does not answer; `fusermount3 -uz {directory}` unmounts it")


def _examine(directory: Path) -> tuple[Path, _State]:
    path = Path(os.path.realpath(directory))
    mounted = mounted_at(path)
    ours = mounted is not None and mounted.kind == f"fuse.{FILE_SYSTEM}"
    try:
        found = os.stat(path)
        if ours:
            os.statvfs(path)  # goes to the process behind it, where a stat may come from memory
            raise FuseError(f"{path} is mounted already; `p2pfs umount {path}` ends that")
        if not stat.S_ISDIR(found.st_mode):
            raise FuseError(f"{path} is no directory; name an empty one, or one not there yet")
        with os.scandir(path) as entries:
            if any(entries):
                raise FuseError(f"{path} is not empty; name an empty one, or one not there yet")
    except FileNotFoundError:
        return path, _State.ABSENT
    except OSError as error:
        if ours and error.errno == errno.ENOTCONN:
            return path, _State.DEAD
        raise FuseError(f"{path} cannot be mounted on: {error.strerror}") from error
    return path, _State.EMPTY


def _init(path: Path, operations: Operations) -> None:
    """Mount it; raises FuseError with the reason, as far as it can be known."""
    if not os.path.exists("/dev/fuse"):
        fix = "`modprobe fuse`, or give the container that device"
        raise FuseError(f"there is no /dev/fuse; {fix}; {_NO_MOUNT_NEEDED}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        fix = "`sudo chmod 666 /dev/fuse` is the usual mode"
        raise FuseError(f"you may not open /dev/fuse; {fix}; {_NO_MOUNT_NEEDED}")
    if os.geteuid() != 0 and which("fusermount3") is None:
        raise FuseError("fusermount3 is missing; `apt install fuse3` brings it")
    if not os.access(path, os.W_OK):
        raise FuseError(f"{path} is not yours to write to; name a directory of your own")
    try:
        with _stderr_kept() as said:
            pyfuse3.init(operations, os.fspath(path), set(_OPTIONS))
    except RuntimeError as error:
        why = " ".join(said.decode(errors="replace").split())
        advice = f"`p2pfs doctor` looks for the cause; {_NO_MOUNT_NEEDED}"
        raise FuseError(f"{path} could not be mounted: {why}; {advice}") from error


@contextmanager
def _stderr_kept() -> Iterator[bytearray]:
    """What goes to stderr meanwhile, there at the end: libfuse and fusermount3 give no reason else.

    It is passed on as well.
    """
    said = bytearray()
    before = os.dup(_STDERR)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), _STDERR)
        try:
            yield said
        finally:
            os.dup2(before, _STDERR)
            os.close(before)
            kept.seek(0)
            said += kept.read()
            os.write(_STDERR, said)


async def _ready(path: Path, operations: Operations, session: _Session) -> Mount:
    """Wait for the kernel's first request, then set what can be set of a mount in use."""
    with trio.move_on_after(_FIRST_REQUEST_SECONDS):
        await operations.initialised.wait()
    mounted = session.mounted
    if mounted is None or not operations.initialised.is_set():
        raise FuseError(f"the kernel does not use the mount on {path}")
    max_background = raise_background_limit(mounted)
    operations.allow(Deadlines().below(kernel_request_timeout()), max_background)
    raise_read_ahead(mounted)
    return Mount(path, max_background, session.over)


async def _detach(path: Path) -> None:
    """Take a mount out of the tree at once, whoever still uses it."""
    commands = [["fusermount3", "-u", "-z", "--", os.fspath(path)]]
    if os.geteuid() == 0:
        commands.append(["umount", "-l", "--", os.fspath(path)])  # fuse3 may not be installed
    for command in commands:
        if which(command[0]) is None:
            continue
        with trio.move_on_after(_PROBE_SECONDS):
            done = await trio.run_process(command, check=False, capture_stderr=True)
            if done.returncode == 0:
                return
            log.warning("%s: %s", command[0], done.stderr.decode(errors="replace").strip())
