"""How much the cache may hold, and what goes when more comes.

Closed contents go first, whole, the longest unused before all others; of open ones only what lies
outside every reader's window.  What is pinned, or leased, stays.  How it goes is for `objects`.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from typing import TYPE_CHECKING

import trio

from p2pfs.content.intervals import Intervals
from p2pfs.errors import P2pfsError
from p2pfs.store.holes import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from p2pfs.content.cid import Cid
    from p2pfs.store.object import Object
    from p2pfs.store.objects import Objects
    from p2pfs.store.pins import Pins

# With no size set: enough to be of use, and no user asks where the disk has gone.
_DISK_PART = 10
# How soon it is noticed that others have filled the disk.
_LOOK_SECONDS = 5.0
# Holes of an evicted content are punched after so much of it: what is not yet given back then is
# little beside the smallest quota that makes sense.
_EVICT_STEP_BYTES = 4 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user allows, in bytes: `quota` at most, and `min_free` of the disk left free."""

    quota: int
    min_free: int = 0


NO_LIMITS = Limits(1 << 62)


def limits_of(folder: Path, cache_size: int | None, min_free: int) -> Limits:
    """Without a size it is a tenth of the disk that holds the folder."""
    if cache_size is None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        disk = os.statvfs(folder)
        cache_size = disk.f_blocks * disk.f_frsize // _DISK_PART
    return Limits(cache_size, min_free)


class Claim:
    """Room for what is under way; what lands of it counts as held from then on."""

    def __init__(self, size: int) -> None:
        self.left = size

    def landed(self, size: int) -> None:
        self.left = max(0, self.left - size)


class Room:
    """Weighs what the cache takes, and what is under way to it, against its limits."""

    def __init__(self, folder: Path, limits: Limits, objects: Objects, pins: Pins) -> None:
        self.quota = limits.quota
        self._folder = folder
        self._min_free = limits.min_free
        self._limit = limits.quota
        self._is_emptying = False
        self._objects = objects
        self._pins = pins
        self._claims: set[Claim] = set()
        self._evicting = trio.Lock()  # holes are made before the next decides

    @property
    def used_bytes(self) -> int:
        """What the cache takes of its disk."""
        return self._objects.usage.total

    @contextmanager
    def claim(self, size: int) -> Iterator[Claim]:
        """Count this much as coming; `make` and `force` then see to it that it fits."""
        claim = Claim(size + BLOCK_BYTES)  # what begins or ends in a block takes all of it
        self._claims.add(claim)
        try:
            yield claim
        finally:
            self._claims.discard(claim)

    async def make(self) -> bool:
        """Evict what no reader will want next, until all that is claimed fits; whether it does."""
        return await self._evict(_wanted)

    async def force(self) -> bool:
        """As `make`, for a reader that waits: also what others will want next."""
        return await self.make() or await self._evict(_leased)

    async def free(self, size: int) -> bool:
        """Evict so much after the disk was found full; whether anything went."""
        before = self.used_bytes
        self._limit = min(self._limit, max(0, before + self._claimed - size))
        await self.force()
        return self.used_bytes < before

    async def evict_all(self) -> int:
        """Evict all that may go, whatever the limits; the bytes of disk given back."""
        before = self.used_bytes
        self._is_emptying = True
        try:
            await self.make()
        finally:
            self._is_emptying = False
        return before - self.used_bytes

    async def keep(self) -> None:
        """Shrink when the disk fills up, for ever."""
        while True:
            await self.look()
            try:
                await self.make()
            except P2pfsError as error:  # may be over the next time
                _log.warning("the cache stays as large as it is: %s", error)
            await trio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """See how much the disk has left for the cache."""
        try:
            disk = await trio.to_thread.run_sync(os.statvfs, self._folder)
        except OSError as error:
            _log.warning("the cache's disk cannot be looked at: %s", error)
            return
        spare = disk.f_bavail * disk.f_frsize - self._min_free
        self._limit = min(self.quota, max(0, self.used_bytes + spare))

    @property
    def _claimed(self) -> int:
        return sum(claim.left for claim in self._claims)

    @property
    def _excess(self) -> int:
        return self.used_bytes + self._claimed - (0 if self._is_emptying else self._limit)

    async def _evict(self, spared: Callable[[Object], Intervals]) -> bool:
        async with self._evicting:  # also where nothing is to go: holes may still be under way
            if self._excess > 0:
                pinned = self._pins.contents()
                while self._excess > 0 and await self._evict_closed(pinned):
                    pass  # a directory goes after the files in it
                await self._evict_open(pinned, spared)
        return self._excess <= 0

    async def _evict_closed(self, pinned: set[Cid]) -> bool:
        """Whether anything went."""
        before = self.used_bytes
        for cid in self._objects.usage:
            if self._excess <= 0:
                break
            if not self._objects.is_open(cid) and cid not in pinned:
                try:
                    if not self._objects.directories.is_needed(cid):
                        await self._objects.remove(cid)
                except P2pfsError as error:
                    _log.warning("what is known of %s is not forgotten: %s", cid, error)
        return self.used_bytes < before

    async def _evict_open(self, pinned: set[Cid], spared: Callable[[Object], Intervals]) -> None:
        touched: set[Object] = set()
        freed = 0
        for held, (start, stop) in self._stalest(pinned):
            if self._excess <= 0:
                break
            freed += held.evict(start, stop, spared(held))
            touched.add(held)
            if freed >= _EVICT_STEP_BYTES:
                await _punch(touched)
                freed = 0
        await _punch(touched)

    def _stalest(self, pinned: set[Cid]) -> Iterator[tuple[Object, tuple[int, int]]]:
        """What is present of open contents, a segment at a time, the longest unused first."""
        free = [held for held in self._objects.opened() if held.cid not in pinned]
        for _, number, span in merge(*(_numbered(n, held) for n, held in enumerate(free))):
            yield free[number], span


def _numbered(number: int, held: Object) -> Iterator[tuple[float, int, tuple[int, int]]]:
    for used, span in held.presence.stalest():
        yield used, number, span


def _leased(held: Object) -> Intervals:
    return held.presence.leases.spans()


def _wanted(held: Object) -> Intervals:
    return Intervals([*_leased(held), *held.presence.windows_spans()])


async def _punch(touched: set[Object]) -> None:
    for held in touched:
        await held.punch()
    touched.clear()
