"""Looking after what is held: hashing it again, dropping what is wrong or not needed.

What goes when the cache is full is for `store.room`.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from p2pfs.errors import P2pfsError
from p2pfs.store.errors import ShareChangedError
from p2pfs.store.tidying import tidy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from p2pfs.content.cid import Cid
    from p2pfs.library.metas import Metas
    from p2pfs.store.object import Object
    from p2pfs.store.objects import Objects
    from p2pfs.store.shares import Shares

# What is hashed before anybody else has a turn: a few milliseconds.
_STEP_BYTES = 4 << 20
# 4 MiB in 2 s is 170 GB a day, at 0.2 % of a core and of a slow disk's speed: a full cache of the
# usual size is gone through in a day, and nobody hears it.
_SCRUB_PAUSE_SECONDS = 2.0
# Between two passes, also when there is nothing to hash.
_SCRUB_AGAIN_SECONDS = 3_600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What hashing a content again has found; `wrong` says what, and is empty if all is right."""

    cid: Cid
    size: int
    checked_bytes: int
    wrong: str = ""


class Upkeep:
    """`changed` is told the path of a share that is not what was published."""

    def __init__(
        self, objects: Objects, shares: Shares, metas: Metas, changed: Callable[[bytes], None]
    ) -> None:
        self._objects = objects
        self._shares = shares
        self._metas = metas
        self._changed = changed

    def held(self) -> dict[Cid, int]:
        """All that is shared or cached, with its size."""
        cached = {held.cid: held.size for held in self._objects.cached()}
        return cached | {
            share.cid: share.size for share in self._shares.all() if share.cid is not None
        }

    async def verify(self, cid: Cid, size: int) -> Verdict:
        """Hash what is here of a content now; of a complete one also compare the CRC-32.

        What is wrong is dropped from the cache; a share is hashed anew.
        """
        held = self._objects.open(cid, size)
        try:
            self._demand_share(held)
            wrong_bytes = await self._hash(held)
            here = held.checked.total()
            if wrong_bytes:
                return Verdict(cid, size, here, f"{wrong_bytes} bytes did not match their hash")
            return Verdict(cid, size, here, await self._compare_crc32(held))
        except ShareChangedError as error:
            self._changed(error.path)
            return Verdict(cid, size, held.checked.total(), str(error))
        finally:
            self._objects.close(held)

    async def verify_all(self) -> AsyncGenerator[Verdict, None]:
        """Everything that is shared or cached, one after the other."""
        for cid, size in self.held().items():
            yield await self.verify(cid, size)

    async def scrub(self) -> None:
        """Hash the cache again and again, slowly, for ever: what rots on disk is found and dropped.

        Shares are their owner's, and are hashed when they change.
        """
        while True:
            try:
                await self.scrub_once()
            except P2pfsError as error:  # the disk's trouble, and may be over the next time
                _log.warning("what is cached cannot be read: %s", error)
            await trio.sleep(_SCRUB_AGAIN_SECONDS)

    async def scrub_once(self) -> None:
        """One such pass."""
        for cached in self._objects.cached():
            try:
                await self._scrub(cached.cid, cached.size)
            except P2pfsError as error:
                _log.warning("%s cannot be hashed again: %s", cached.cid, error)

    async def collect(self) -> tuple[int, int]:
        """Evict all that is neither pinned nor in use; the bytes given back, and how many went."""
        odd = await tidy(self._objects)
        before = len(self._objects.usage)
        freed = await self._objects.room.evict_all()
        await self._objects.save()
        return freed, max(0, before - len(self._objects.usage)) + odd

    async def _scrub(self, cid: Cid, size: int) -> None:
        for start in range(0, size, _STEP_BYTES):
            held = self._objects.open(cid, size)  # only for a moment, so that it can be evicted
            try:
                wrong = 0 if held.is_share else await _hash_step(held, start)
            finally:
                self._objects.close(held)
            if wrong:
                _log.warning("%d bytes of %s had changed on the disk: dropped", wrong, cid)
            await trio.sleep(_SCRUB_PAUSE_SECONDS)

    def _demand_share(self, held: Object) -> None:
        """Raises ShareChangedError if this is in the cache for want of the file that was shared."""
        for share in () if held.is_share else self._shares.by_cid(held.cid):
            raise ShareChangedError(share.path)

    async def _hash(self, held: Object) -> int:
        return sum([await _hash_step(held, at) for at in range(0, held.size, _STEP_BYTES)])

    async def _compare_crc32(self, held: Object) -> str:
        """What is wrong with a complete content's CRC-32, if anything is."""
        published = self._metas.crc32s_of(held.cid)
        published |= {share.crc32 for share in self._shares.by_cid(held.cid)}
        crc32 = 0
        for start in range(0, held.size, _STEP_BYTES):
            stop = min(start + _STEP_BYTES, held.size)
            with held.presence.lease(start, stop):
                if not published or not held.checked.covers(start, stop):
                    return ""
                piece = await trio.to_thread.run_sync(held.read, start, stop - start)
                crc32 = await trio.to_thread.run_sync(zlib.crc32, piece, crc32)
        others = sorted(f"{other:08x}" for other in published - {crc32})
        if not others:
            return ""
        return f"every block is right, but the CRC-32 is {crc32:08x}, published {', '.join(others)}"


async def _hash_step(held: Object, start: int) -> int:
    """Hash again what is here of a step's leaves; how many bytes were wrong."""
    stop = min(start + _STEP_BYTES, held.size)
    held.doubt(start, stop)
    with held.presence.lease(start, stop):
        before = held.present.copy()
        await held.check(start, stop)
        gone = [gap for span in before.overlaps(start, stop) for gap in held.present.gaps(*span)]
    return sum(end - begin for begin, end in gone)
