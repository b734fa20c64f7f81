"""The fetched contents: a sparse file each, and the account of what is present in it.

What of it is right is for `object`; which of it others may have, for `blocks`.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from contextlib import asynccontextmanager, suppress
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.content.intervals import Intervals
from p2pfs.errors import P2pfsError
from p2pfs.store.accounts import Accounts, CachedObject
from p2pfs.store.directories import Directories
from p2pfs.store.errors import ShareChangedError
from p2pfs.store.files import CacheFile, ShareFile
from p2pfs.store.holes import blocks_of
from p2pfs.store.object import Object
from p2pfs.store.pins import Pins
from p2pfs.store.room import NO_LIMITS, Room
from p2pfs.store.sweeping import sweep
from p2pfs.store.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from p2pfs.content.cid import Cid
    from p2pfs.store.catalog import Catalog
    from p2pfs.store.dags import Dags
    from p2pfs.store.files import ExactStamp
    from p2pfs.store.room import Limits
    from p2pfs.store.shares import Shares

# The account is a hint: a kill costs fetching again what came since it was last saved.
_SAVE_EVERY_SECONDS = 5.0
# What was hashed in this run is remembered of so many closed contents, some 300 bytes each; of
# one forgotten the price is to hash it again.
_REMEMBERED_CHECKS = 4_096
# A file on its way out; should the node die meanwhile, `sweeping` finds it.
_GONE = ".gone"

_log = logging.getLogger(__name__)


class Objects:
    """Opens contents: a share that is intact in place, anything else in the cache.

    A closed object lingers until what came last is saved, so that no account is read that is
    older than what it is about.
    """

    def __init__(
        self, folder: Path, catalog: Catalog, dags: Dags, shares: Shares, limits: Limits = NO_LIMITS
    ) -> None:
        self.folder = folder
        self._accounts = Accounts(catalog)
        self._dags = dags
        self._shares = shares
        self.usage = Usage()
        self.directories = Directories(catalog, dags, self.usage)
        self.room = Room(folder, limits, self, Pins(catalog))
        self._open: dict[Cid, dict[int, Object]] = {}  # by size: one of them can be right
        self._unsaved: set[Object] = set()
        self._checked: OrderedDict[tuple[Cid, int], tuple[ExactStamp, Intervals]] = OrderedDict()

    def open(self, cid: Cid, size: int) -> Object:
        """The object of a content, the same for all who have it open; `close` it in the end.

        A size that is not the content's is found out when its root is read: nothing of it will
        ever be present.
        """
        sizes = self._open.setdefault(cid.v1, {})
        found = sizes.get(size)
        if found is None or (found.is_share and found.stamp() is None):
            found = sizes[size] = self._opened(cid.v1, size)
        found.users += 1
        self.usage.touch(found.cid)
        return found

    def close(self, opened: Object) -> None:
        """Give back what `open` gave."""
        opened.users -= 1
        self.usage.touch(opened.cid)
        if opened.users:
            return
        if opened.present and not opened.is_share:
            self._unsaved.add(opened)  # when it was last used
        else:
            self._release(opened)

    def cached(self) -> list[CachedObject]:
        """What the cache holds, the latest used first; an open content before all others."""
        live = [
            CachedObject(found.cid, found.size, found.present.total(), int(time.time()))
            for sizes in self._open.values()
            for found in sizes.values()
            if not found.is_share and (found.present or found.size == 0)
        ]
        fresh = {found.cid for found in live}
        return live + [found for found in self._accounts.cached() if found.cid not in fresh]

    def used_bytes(self) -> int:
        """What the cache takes of its disk."""
        return self.usage.total

    async def load(self) -> None:
        """Take up the account of the last run, and make it and the folder agree."""
        accounts = self._accounts.all()
        files = {self.path(cid): present for cid, (_, present) in accounts.items()}
        missing, less = await trio.to_thread.run_sync(sweep, self.folder / "objects", files)
        found = []
        for cid, (used, present) in accounts.items():
            file = self.path(cid)
            if file in missing:
                continue
            there = less.get(file, present)
            if there is not present:
                await self._accounts.correct(cid, there)
            if there or there is present:  # else nothing is left of it
                found.append((used, cid, blocks_of(there)))
        for _, cid, taken in sorted(found + self.directories.all(), key=itemgetter(0)):
            self.usage.set(cid, taken)

    def opened(self) -> Iterator[Object]:
        """The fetched contents that somebody has open, or that wait to be saved."""
        for sizes in list(self._open.values()):
            for found in list(sizes.values()):
                if not found.is_share:
                    yield found

    def is_open(self, cid: Cid) -> bool:
        """Whether somebody has it open, or it waits to be saved."""
        return cid.v1 in self._open

    async def remove(self, cid: Cid) -> int:
        """Give up a closed content with all that is known of it; the bytes of disk that go.

        From the first moment on it is as if it had never been here.
        """
        freed = self.usage.remove(cid)
        self._dags.forget_parsed(cid)
        file = self.path(cid)
        gone = file.with_name(file.name + _GONE)
        with suppress(OSError):
            file.rename(gone)  # at once; what takes time is to free its blocks
        try:
            await self._accounts.remove(cid)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial(gone.unlink, missing_ok=True))
        return freed

    def held(self, cid: Cid) -> tuple[int, Intervals] | None:
        """The size of a fetched content and what is present of it now; None for any other."""
        for live in self._open.get(cid.v1, {}).values():
            if live.present and not live.is_share:
                return live.size, live.present
        return self._accounts.present(cid)

    def path(self, cid: Cid) -> Path:
        """Where the cache keeps a content: in one of 1,024 folders.

        All CIDs begin alike and the last character has few values, so it is the two before that
        tell them apart (as in Kubo's flatfs).
        """
        name = str(cid.v1)
        return self.folder / "objects" / name[-3:-1] / name

    async def save_repeatedly(self) -> None:
        """Save what is new every few seconds, for ever."""
        while True:
            await trio.sleep(_SAVE_EVERY_SECONDS)
            await self.save()

    async def save(self) -> None:
        """Save the account of what is new; closed objects are let go.

        Trouble with the catalogue is logged, and what is new stays so until the next time.
        """
        for changed in list(self._unsaved):
            self._unsaved.discard(changed)
            landed = changed.take_unsaved()
            try:
                await self._save(changed, landed)
            except P2pfsError as error:
                _log.warning("what is present of %s is not saved: %s", changed.cid, error)
                changed.put_back_unsaved(landed)

    def _changed(self, changed: Object) -> None:
        self._unsaved.add(changed)
        if not changed.is_share:
            self.usage.set(changed.cid, changed.presence.disk_bytes)

    async def _save(self, changed: Object, landed: Intervals) -> None:
        await changed.punch()
        if not (changed.present or changed.users or changed in self._unsaved):
            self._release(changed)
            await self.remove(changed.cid)
            return
        await self._accounts.save(changed, landed)
        self._release(changed)

    def _opened(self, cid: Cid, size: int) -> Object:
        found = self._share(cid, size) or self._cached(cid, size)
        stamp, checked = self._checked.get((cid, size), (None, Intervals()))
        if stamp is not None and stamp == found.stamp():
            found.recall(found.present, checked)
        return found

    def _share(self, cid: Cid, size: int) -> Object | None:
        for share in self._shares.by_cid(cid):
            if share.size != size:
                continue
            try:
                file = ShareFile(share, self._shares.open_share(share))
            except ShareChangedError:
                continue
            found = Object(cid, size, self._dags, file, self._changed)
            found.recall(Intervals([(0, size)]), Intervals())
            return found
        return None

    def _cached(self, cid: Cid, size: int) -> Object:
        file = CacheFile(self.path(cid), size)
        found = Object(cid, size, self._dags, file, self._changed)
        held = self.held(cid)
        if held is None or held[0] != size:
            return found
        if file.open_existing():
            found.recall(held[1], Intervals())
        else:
            self._changed(found)  # somebody has emptied the cache: so says the account
        return found

    def _release(self, idle: Object) -> None:
        """Let go of an object that nobody uses and that has nothing to save."""
        if idle.users or idle in self._unsaved:
            return
        key = idle.cid, idle.size
        stamp = idle.stamp()
        if stamp is not None and idle.checked:
            self._checked[key] = stamp, idle.checked
            self._checked.move_to_end(key)
            if len(self._checked) > _REMEMBERED_CHECKS:
                self._checked.popitem(last=False)
        sizes = self._open.get(idle.cid, {})
        if sizes.get(idle.size) is idle:
            del sizes[idle.size]
        if not sizes:
            self._open.pop(idle.cid, None)
        idle.close()


@asynccontextmanager
async def open_objects(
    folder: Path, catalog: Catalog, dags: Dags, shares: Shares, limits: Limits = NO_LIMITS
) -> AsyncIterator[Objects]:
    """The objects below a cache folder, their account saved every few seconds and at the end."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    objects = Objects(folder, catalog, dags, shares, limits)
    await objects.load()
    async with open_nursery() as nursery:
        nursery.start_soon(objects.save_repeatedly)
        nursery.start_soon(objects.room.keep)
        try:
            yield objects
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await objects.save()
