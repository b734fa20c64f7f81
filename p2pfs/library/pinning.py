"""Pinning: fetching a content whole, a file or a directory, and keeping it.

That it is never evicted is for `store.room`; here it is said what is to be kept, and brought.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.errors import MalformedError, NoSpaceError, NotFoundError
from p2pfs.library.resolving import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from p2pfs.content.cid import Cid
    from p2pfs.library.reading import Reading, Resolved
    from p2pfs.store.pins import Pin, Pins
    from p2pfs.store.room import Room

# What is read at once: a few of the kernel's requests, so that others have their turn.
_STEP_BYTES = 1 << 20
# Deeper than any real tree; of one that is, the rest can be pinned by its own content id.
_MAX_DEPTH = 64
# As many files as a listing of directories brings at once, some 100 bytes each.
_MAX_CONTENTS = 100_000


class Fetched(NamedTuple):
    """How far a pin has come, in bytes, of all that belongs to it."""

    cid: Cid
    done: int
    size: int
    files: int


class Pinning:
    """Pins and unpins; what is pinned but not here whole is fetched when it is pinned again."""

    def __init__(self, reading: Reading, pins: Pins, room: Room) -> None:
        self._reading = reading
        self._pins = pins
        self._room = room

    async def pin(self, cid: Cid, parts: tuple[str, ...] = ()) -> AsyncGenerator[Fetched, None]:
        """Pin what lies at `cid/part/…` and fetch all of it, telling how far it has come.

        It stays pinned if this is cancelled.  Raises as `Reading.resolve` and reads do, and
        NoSpaceError for more than the cache may hold.
        """
        found = await self._reading.resolve(cid, parts)
        contents = await self._contents(found)
        files = {content: size for content, size, is_file in contents if is_file}
        size = sum(files.values())
        self._demand_room(found.cid, size)
        await self._pins.add(found.cid, [(content, size) for content, size, _ in contents])
        done = 0
        yield Fetched(found.cid, done, size, len(files))
        for content, file_size in files.items():
            opened = await self._reading.open(content, file_size)
            try:
                for at in range(0, file_size, _STEP_BYTES):
                    done += len(await opened.read(at, _STEP_BYTES))
                    yield Fetched(found.cid, done, size, len(files))
            finally:
                opened.close()

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

    def _demand_room(self, cid: Cid, size: int) -> None:
        pinned = sum(pin.size for pin in self._pins.all() if pin.cid != cid)
        if pinned + size > self._room.quota:
            raise NoSpaceError(
                f"{cid} has {size} bytes, {pinned} are pinned already, "
                f"and the cache may hold {self._room.quota}"
            )

    async def _contents(self, root: Resolved) -> list[tuple[Cid, int, bool]]:
        """Every file and directory below, and itself, with its size and whether it is a file."""
        found = [(root.cid, root.size, root.kind is Kind.FILE)]
        level = [root]
        for _ in range(_MAX_DEPTH):
            below = [
                child
                for folder in level
                if folder.kind is Kind.DIRECTORY
                for child in (await self._reading.children(folder)).values()
            ]
            found += [(child.cid, child.size, child.kind is Kind.FILE) for child in below]
            if len(found) > _MAX_CONTENTS:
                raise NoSpaceError(f"{root.cid} holds over {_MAX_CONTENTS} files")
            if not below:
                return found
            level = below
        raise MalformedError(f"{root.cid} is over {_MAX_DEPTH} directories deep")
