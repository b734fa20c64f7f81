"""Pinning: fetching a content whole, a file or a directory, and keeping it.

That it is never evicted is for `store.room`; here it is said what is to be kept, and brought.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from p2pfs.concurrency import all_of
from p2pfs.errors import NoSpaceError, NotFoundError, P2pfsError
from p2pfs.library.below import all_below
from p2pfs.library.resolving import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from p2pfs.content.cid import Cid
    from p2pfs.library.reading import Reading, Resolved
    from p2pfs.store.pins import Pin, Pins
    from p2pfs.store.room import Room

# What is waited for at once, so that it is told how far it has come.
_STEP_BYTES = 1 << 20
# Small files at once: each is a round trip or two, whatever its size.
_FILES_AT_ONCE = 16
# What was interrupted is gone on with soon after the start, when peers are there; then less and
# less often: nobody may have it any more.
_RESUME_SECONDS = 10.0
_MAX_RESUME_SECONDS = 600.0


_log = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """How far a pin has come, in bytes, of all that belongs to it."""

    cid: Cid
    done: int
    size: int
    files: int


class Pinning:
    """Pins and unpins; what of a pin is not here is fetched by `run`, or by pinning again."""

    def __init__(self, reading: Reading, pins: Pins, room: Room) -> None:
        self._reading = reading
        self._pins = pins
        self._room = room

    async def pin(self, cid: Cid, parts: tuple[str, ...] = ()) -> AsyncGenerator[Fetched, None]:
        """Pin what lies at `cid/part/…` and fetch all of it, telling how far it has come.

        It stays pinned if this is cancelled.  Raises as `Reading.resolve` and reads do, and
        NoSpaceError for more than the cache may hold.
        """
        found, contents = await self._contents(cid, parts)
        await self._pins.add(found, [(content.cid, content.size) for content in contents])
        async with aclosing(self._fetch(found, contents)) as steps:
            async for step in steps:
                yield step

    async def run(self) -> None:
        """Go on with pins that were interrupted, until cancelled."""
        pause = _RESUME_SECONDS
        while True:
            try:
                is_done = await self._go_on_with_all()
            except P2pfsError as error:  # the disk's trouble, and may be over the next time
                _log.warning("what is pinned cannot be read: %s", error)
                is_done = False
            pause = _RESUME_SECONDS if is_done else min(2 * pause, _MAX_RESUME_SECONDS)
            await trio.sleep(pause)

    async def unpin(self, cid: Cid, parts: tuple[str, ...] = ()) -> Cid:
        """Keep it no longer; NotFoundError if it was not pinned."""
        pinned = cid if not parts else (await self._reading.resolve(cid, parts)).cid
        if not await self._pins.remove(pinned):
            raise NotFoundError(f"{pinned} is not pinned")
        return pinned

    def all(self) -> list[tuple[Pin, int]]:
        """Every pin, and how many bytes of it are here."""
        return [
            (pin, sum(self._reading.held_bytes(content) for content in pin.contents))
            for pin in self._pins.all()
        ]

    async def _contents(self, cid: Cid, parts: tuple[str, ...]) -> tuple[Cid, list[Resolved]]:
        """What is to be pinned, and all that belongs to it; raises as `pin`."""
        found = await self._reading.resolve(cid, parts)
        contents = await all_below(self._reading, found)
        self._demand_room(found.cid, sum(_files_among(contents).values()))
        return found.cid, contents

    async def _go_on_with_all(self) -> bool:
        """Whether nothing is left to be fetched."""
        unfinished = 0
        for cid in await self._pins.unfinished():
            try:
                await self._go_on(cid)
            except P2pfsError as error:
                _log.info("%s is pinned, and not all of it is here: %s", cid, error)
                unfinished += 1
        return not unfinished

    async def _go_on(self, cid: Cid) -> None:
        """Fetch what is not here of a pin, for as long as it is one."""
        found, contents = await self._contents(cid, ())
        async with aclosing(self._fetch(found, contents)) as steps:
            async for _ in steps:
                if not self._pins.is_pinned(cid):
                    return

    async def _fetch(self, cid: Cid, contents: list[Resolved]) -> AsyncGenerator[Fetched, None]:
        """Begins with what is done before anything is fetched."""
        files, done = _files_among(contents), 0
        size = sum(files.values())
        yield Fetched(cid, done, size, len(files))
        for batch in _batches(files.items()):
            async with aclosing(self._bring(batch)) as steps:
                async for brought in steps:
                    done += brought
                    yield Fetched(cid, done, size, len(files))

    async def _bring(self, files: list[tuple[Cid, int]]) -> AsyncGenerator[int, None]:
        """Bytes that have come, bit by bit of a lone file, of several when all have come."""
        if len(files) > 1:
            await all_of(partial(self._bring_whole, *file) for file in files)
            yield sum(size for _, size in files)
        else:
            async with aclosing(self._steps(*files[0])) as steps:
                async for brought in steps:
                    yield brought

    async def _bring_whole(self, cid: Cid, size: int) -> None:
        async with aclosing(self._steps(cid, size)) as steps:
            async for _ in steps:
                pass

    async def _steps(self, cid: Cid, size: int) -> AsyncGenerator[int, None]:
        if self._reading.held(cid, size) == size:
            yield size
            return
        opened = await self._reading.open(cid, size)
        try:
            for at in range(0, size, _STEP_BYTES):
                stop = min(at + _STEP_BYTES, size)
                await opened.bring(at, stop)
                yield stop - at
        finally:
            opened.close()

    def _demand_room(self, cid: Cid, size: int) -> None:
        pinned = sum(pin.size for pin in self._pins.all() if pin.cid != cid)
        if pinned + size > self._room.quota:
            raise NoSpaceError(
                f"{cid} has {size} bytes, {pinned} are pinned already, "
                f"and the cache may hold {self._room.quota}"
            )


def _files_among(contents: Iterable[Resolved]) -> dict[Cid, int]:
    """Each file once, with its size."""
    return {content.cid: content.size for content in contents if content.kind is Kind.FILE}


def _batches(files: Iterable[tuple[Cid, int]]) -> Iterator[list[tuple[Cid, int]]]:
    """Small files in groups, large ones each alone."""
    small: list[tuple[Cid, int]] = []
    for cid, size in files:
        if size > _STEP_BYTES:
            yield [(cid, size)]
            continue
        small.append((cid, size))
        if len(small) == _FILES_AT_ONCE:
            yield small
            small = []
    if small:
        yield small
