"""A part of a file on its way into the object: room is claimed first, then it is brought.

Where it comes from is for `download`; what has to go for it is chosen in `store.room`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from p2pfs.errors import NoSpaceError
from p2pfs.transfer.landing import Landing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from p2pfs.store.object import Object
    from p2pfs.store.room import Room
    from p2pfs.transfer.checksum import Checksum


class Part(Protocol):
    """Bytes that come together: a run of one peer, a leaf that is copied."""

    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...


class Intake:
    """Any number of parts at once; `is_awaited` says whether a reader waits for some of a range."""

    def __init__(
        self,
        held: Object,
        room: Room,
        checksum: Checksum,
        is_awaited: Callable[[int, int], bool],
    ) -> None:
        self._object = held
        self._room = room
        self._checksum = checksum
        self._is_awaited = is_awaited

    async def bring(
        self,
        part: Part,
        fetch: Callable[[Landing], Awaitable[None]],
        landed: Callable[[int, int], None],
    ) -> bool:
        """Whether there was room for it; `landed` is told of each range that is in the object.

        What has landed stays, also if `fetch` raises, which comes out.  Without room nobody is to
        want it ahead any more: it is brought when somebody waits for it.
        """
        held, start, stop = self._object, part.start, part.stop
        missing = sum(end - begin for begin, end in held.present.gaps(start, stop))
        with held.presence.lease(start, stop) as lease, self._room.claim(missing) as claim:
            if not await self._make_room(part):
                held.presence.close_windows(start, stop)
                return False

            def arrived(begin: int, end: int) -> None:
                claim.landed(end - begin)
                landed(begin, end)

            sink = Landing(held, lease, self._checksum, arrived)
            try:
                await fetch(sink)
            except NoSpaceError:
                if not await self._room.free(missing):
                    raise
                await fetch(sink)
            finally:
                sink.close()
        return True

    async def _make_room(self, part: Part) -> bool:
        """Only what a reader waits for may pass the quota, if nothing else can go."""
        if self._is_awaited(part.start, part.stop):
            await self._room.force()
            return True
        return await self._room.make() or self._is_awaited(part.start, part.stop)
