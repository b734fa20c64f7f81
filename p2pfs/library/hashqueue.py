"""Which files are hashed when: a few at once, those in doubt one by one after all others.

That a file is to be hashed is found by `ingest`, what it then is kept by `filing`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.library.hashing import UnsteadyError
from p2pfs.library.hints import BATCH_FILES
from p2pfs.library.stillness import Stillness
from p2pfs.library.underway import UnderWay

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from p2pfs.library.filing import Filed, Filing
    from p2pfs.library.hints import Hints
    from p2pfs.library.progress import Progress

RETRY_SECONDS = 60.0
# Nobody waits for the hash of a file in doubt: 4 MiB and a pause, some 150 MB/s and a fifth of a
# core at most, and none while others are hashed.
_PAUSE_SECONDS = 0.02
_LOOK_AGAIN_SECONDS = 0.1


class HashQueue:
    """Calls `filed` with each file that was hashed; all else leads to another look at its path."""

    def __init__(
        self,
        filing: Filing,
        hints: Hints,
        progress: Progress,
        filed: Callable[[Filed], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._filing = filing
        self._hints = hints
        self._progress = progress
        self._filed = filed
        self._clock = clock
        self._underway = UnderWay(self.look_at_ready)
        self._stillness = Stillness(hints.still_seconds)
        self._in_doubt: bytes | None = None

    def __contains__(self, path: bytes) -> bool:
        return path in self._underway

    def paths(self) -> list[bytes]:
        """What is hashed or waits for it, but for what is in doubt."""
        return [path for path in self._underway.paths() if path != self._in_doubt]

    def batch_waits(self) -> bool:
        """Whether many files are still to be hashed; those in doubt do not count."""
        return len(self.paths()) >= BATCH_FILES

    def stop(self, path: bytes) -> None:
        """What was being hashed at or below a path is no more what it was."""
        self._underway.stop(path)

    def forget(self, path: bytes) -> None:
        """There is no such file any more."""
        self._stillness.forget(path)

    def hash_when_still(self, path: bytes, found: os.stat_result, nursery: trio.Nursery) -> None:
        """Now, or have it looked at again when it may be its turn."""
        if self._underway.is_running(path):
            return  # what disturbed it has cancelled it, and it will ask for a look at its end
        wait = self._stillness.seconds_to_wait(path, found, self._clock(), trio.current_time())
        if wait > 0:
            self._progress.waits(path, "until it has been still")
            self._hints.agenda.look_after(path, wait)
        elif not self._underway.has_room():
            self._progress.waits(path, "until others are hashed")
            self._underway.wait_turn(path)
        else:
            self._underway.start(nursery, path, self._hash)

    def hash_again_when_idle(self, path: bytes, nursery: trio.Nursery) -> None:
        """Its row stands until then; what others are given of it is hashed by `store.blocks`."""
        if self._underway.is_running(path):
            return
        if self._underway.is_idle():
            self._in_doubt = path
            self._underway.start(nursery, path, self._hash_again)
        else:
            self._underway.wait_idle(path)

    def look_at_ready(self) -> None:
        """Look again at what waited for others to be hashed."""
        for path in self._underway.take_ready():
            self._hints.agenda.look(path)

    async def _hash(self, path: bytes) -> None:
        started = partial(self._progress.begins, path)
        told_open = self._hints.is_open(path)
        hashing = partial(self._filing.hash_and_keep, path, started, told_open=told_open)
        await self._file(path, hashing)

    async def _hash_again(self, path: bytes) -> None:
        told_open = self._hints.is_open(path)
        hashing = partial(self._filing.hash_again, path, self._give_way, told_open=told_open)
        try:
            await self._file(path, hashing)
        finally:
            self._in_doubt = None

    async def _give_way(self) -> None:
        await trio.sleep(_PAUSE_SECONDS)
        while not self._underway.is_alone():  # noqa: ASYNC110 its turn is over when they come
            await trio.sleep(_LOOK_AGAIN_SECONDS)

    async def _file(self, path: bytes, hashing: Callable[[], Awaitable[Filed]]) -> None:
        """Hash and keep it; look again if that failed, or something was told meanwhile."""
        self._hints.described(path)  # what is told from here on may come after it was read
        wait = self._stillness.still_seconds
        try:
            self._is_filed(await hashing())
            wait = 0.0
        except UnsteadyError as error:
            self._progress.waits(path, str(error))
        except OSError as error:
            self._progress.fails(path, f"cannot be read: {error.strerror}")
            wait = RETRY_SECONDS
        except Exception as error:  # noqa: BLE001 the edge: one odd file must not end the node
            self._progress.fails_by(path, error)
            wait = RETRY_SECONDS
        finally:
            self._progress.ends(path)
            told = self._underway.is_stopped(path) or self._hints.is_retagged(path)
            if wait or told:
                self._hints.agenda.look_after(path, wait)

    def _is_filed(self, filed: Filed) -> None:
        path = filed.share.path
        self._stillness.hashed(path, filed.share.hash_seconds)
        if not self._underway.is_stopped(path):
            self._hints.settled(path)
        self._progress.settle(path)
        self._filed(filed)
