"""Files and folders outside the share folder that the user published where they lie.

Here it is decided what is published; following its files is for `elsewhere`, and which paths never
are for `offlimits`.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from p2pfs.errors import NotFoundError, NotPermittedError, P2pfsError, RefusedError
from p2pfs.library.exclusions import exclusion
from p2pfs.library.folderscan import look_closely, special_kind
from p2pfs.library.standing import Standing
from p2pfs.store.beneath import open_beneath
from p2pfs.store.extent import Publication
from p2pfs.store.share import ShareState
from p2pfs.text import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.library.elsewhere import Elsewhere
    from p2pfs.store.publications import Publications

# Each is looked at every minute, each folder they lie in takes an inotify instance, of which a user
# has 128 by default (without one it is looked through every 5 s).  More files belong in a folder.
MAX_PUBLICATIONS = 1_000
# A folder into which somebody mounts p2pfs would soon hold what others have published.
_LOOK_EVERY_SECONDS = 10.0
_ROOT = Path("/")

_log = logging.getLogger(__name__)


class Publishing:
    """`open_place` makes who follows publications of one folder, in the nursery given.

    `refusal` says why a path may not be published; `changed` as in `Ingest`.
    """

    def __init__(
        self,
        kept: Publications,
        open_place: Callable[[Sequence[Publication]], Elsewhere],
        changed: Callable[[Cid], None],
        refusal: Callable[[bytes], str | None],
        nursery: trio.Nursery,
    ) -> None:
        self._kept = kept
        self._open_place = open_place
        self._changed = changed
        self._refusal = refusal
        self._nursery = nursery
        self._publications: dict[bytes, Publication] = {}
        self._refused: dict[bytes, str] = {}
        self._places: dict[bytes, Elsewhere] = {}
        self._changing = trio.Lock()

    async def start(self) -> None:
        """Follow what was published before this run of the node.

        What may not be published any more is not served when this returns.
        """
        places: defaultdict[bytes, list[Publication]] = defaultdict(list)
        for publication in self._kept.all():
            self._publications[publication.path] = publication
            reason = self._refusal(publication.path)
            if reason is None:
                places[publication.parent].append(publication)
            else:
                self._refused[publication.path] = reason
                self._tell(await self._kept.remove_files(publication.path))
        for publications in places.values():
            self._open(publications)

    async def publish(self, path: bytes, tags: tuple[str, ...] = ()) -> Standing:
        """Serve a file or a folder from where it lies; how it stands.

        `path` is absolute and without links, `tags` (in normal form; none leaves them as they are)
        are those of all its files.  What is published already gets these tags.  Raises
        NotFoundError, NotPermittedError, and RefusedError for what may not be published.
        """
        self._demand_allowed(path)
        is_folder = await trio.to_thread.run_sync(_is_folder, path)
        async with self._changing:
            holder = self.holder(path)
            if holder is not None and holder.path != path:
                if tags:
                    raise RefusedError(
                        f"{_text(path)} is published as a part of {_text(holder.path)}, "
                        "and has its tags"
                    )
                return self.standing(path)
            self._demand_room(path)
            given = tags or (holder.tags if holder else ())
            publication = Publication(path, is_folder, given)
            with trio.CancelScope(shield=True):  # else it would be kept, and not followed
                await self._kept.put(publication)
                await self._follow(publication)
        return self.standing(path)

    async def unpublish(self, path: bytes) -> None:
        """Serve it no longer, and withdraw what others were told.

        Raises NotFoundError for what is not published, RefusedError for a part of what is.
        """
        async with self._changing:
            publication = self._demand_whole(path)
            with trio.CancelScope(shield=True):
                await self._take_back(publication, self._kept.remove)
                del self._publications[path]
                self._refused.pop(path, None)

    async def look_again(self) -> None:
        """Take back what may not be published any more, and publish again what may, for ever."""
        while True:
            await trio.sleep(_LOOK_EVERY_SECONDS)
            async with self._changing:
                for publication in tuple(self._publications.values()):
                    await self._judge_safely(publication)

    def all(self) -> list[Standing]:
        """How everything stands that was published so, by path."""
        return [self.standing(path) for path in sorted(self._publications)]

    def standing(self, path: bytes) -> Standing:
        """How far a publication, or a part of one, is.  Raises NotFoundError for anything else."""
        holder = self.holder(path)
        if holder is None:
            raise NotFoundError(f"{_text(path)} is not published")
        place = self._place(holder)
        if place is None:
            return Standing(path, ShareState.FAILED, self._why_not(holder))
        return replace(place.standing(path), path=path)

    def batch_comes_in(self) -> bool:
        """Whether many files in one folder are yet to be looked at or hashed."""
        return any(place.batch_comes_in() for place in self._places.values())

    def failed(self) -> dict[bytes, str]:
        """The paths of which nothing is published now, as it had to be taken back, and why."""
        states = {path: self.state(path) for path in self._publications}
        return {path: why for path, (state, why) in states.items() if state is ShareState.FAILED}

    def holder(self, path: bytes) -> Publication | None:
        """The publication at a path or above it."""
        at = path
        while at:
            found = self._publications.get(at)
            if found is not None and found.holds(path):
                return found
            at = at.rpartition(b"/")[0]
        return None

    def state(self, path: bytes) -> tuple[ShareState, str]:
        """How far one of the files is, and why it is not further."""
        holder = self.holder(path)
        place = self._place(holder)
        return place.state(path) if place else (ShareState.FAILED, self._why_not(holder))

    def changed(self, path: bytes) -> None:
        """One of the files is not what it was."""
        place = self._place(self.holder(path))
        if place is not None:
            place.changed(path)

    def _place(self, publication: Publication | None) -> Elsewhere | None:
        """Who follows it, if anybody does."""
        if publication is None or publication.path in self._refused:
            return None
        return self._places.get(publication.parent)

    async def _judge_safely(self, publication: Publication) -> None:
        try:
            with trio.CancelScope(shield=True):
                await self._judge(publication)
        except P2pfsError as error:  # the disk's trouble, and may be over the next time
            _log.warning("%r cannot be taken back yet: %s", publication.path, error)

    async def _judge(self, publication: Publication) -> None:
        path, reason = publication.path, self._refusal(publication.path)
        if reason is not None and path not in self._refused:
            _log.warning("%r is published no more: it %s", path, reason)
            await self._take_back(publication, self._kept.remove_files)
            self._refused[path] = reason
        elif reason is None and path in self._refused:
            await self._follow(publication)

    async def _take_back(
        self, publication: Publication, forget: Callable[[bytes], Awaitable[set[Cid]]]
    ) -> None:
        """Follow it no longer; what `forget` forgets is withdrawn."""
        place = self._places.get(publication.parent)
        staying = await place.stop() if place else []
        try:
            gone = await forget(publication.path)
            staying = [other for other in staying if other.path != publication.path]
        finally:
            self._places.pop(publication.parent, None)
            self._open(staying)
        self._tell(gone)

    async def _follow(self, publication: Publication) -> None:
        self._publications[publication.path] = publication
        self._refused.pop(publication.path, None)
        place = self._places.get(publication.parent)
        if place is None:
            self._open([publication])
        else:
            await place.choose(publication)

    def _open(self, publications: Sequence[Publication]) -> None:
        """Those of one folder; there may be none."""
        if publications:
            place = self._open_place(publications)
            self._places[publications[0].parent] = place
            self._nursery.start_soon(place.run)

    def _tell(self, cids: Iterable[Cid]) -> None:
        for cid in cids:
            self._changed(cid)

    def _demand_allowed(self, path: bytes) -> None:
        reason = self._refusal(path)
        if reason is not None:
            raise RefusedError(f"{_text(path)} {reason}")

    def _demand_room(self, path: bytes) -> None:
        """No publication may be a part of another, and there are not too many."""
        inside = [other for other in self._publications if other.startswith(path + b"/")]
        if inside:
            raise RefusedError(
                f"{_text(path)} holds {_text(inside[0])}, which is published by itself; "
                f"`p2pfs unpublish {_text(inside[0])}` first"
            )
        if path not in self._publications and len(self._publications) >= MAX_PUBLICATIONS:
            raise RefusedError(
                f"{MAX_PUBLICATIONS} paths are published already; publish the folder they are in"
            )

    def _demand_whole(self, path: bytes) -> Publication:
        holder = self.holder(path)
        if holder is None:
            raise NotFoundError(f"{_text(path)} is not published; `p2pfs publish` lists what is")
        if holder.path != path:
            raise RefusedError(
                f"{_text(path)} is published as a part of {_text(holder.path)}; unpublish that, or "
                "name it in a .p2pfsignore there"
            )
        return holder

    def _why_not(self, publication: Publication | None) -> str:
        reason = self._refused.get(publication.path, "") if publication else ""
        return f"it {reason}" if reason else "it is published no more"


def _is_folder(path: bytes) -> bool:
    """Whether what is at a path that may be published is a folder; blocking.  Raises as said."""
    above, _, name = path.rpartition(b"/")
    try:
        _demand_publishable(path, special_kind(os.lstat(path)))
        fd = open_beneath(_ROOT, path[1:])
        try:
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
            if is_folder:
                os.stat(".", dir_fd=fd)  # refused where nothing in it can be opened
        finally:
            os.close(fd)
    except PermissionError as error:
        raise NotPermittedError(f"{_text(path)} cannot be read: {error.strerror}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no {_text(path)}") from error
    except OSError as error:
        raise RefusedError(f"{_text(path)} cannot be opened: {error.strerror}") from error
    _, ignores = look_closely(Path(os.fsdecode(above or b"/")), [name])
    reason = exclusion(name + b"/-" if is_folder else name, ignores)
    if reason is not None:
        raise RefusedError(f"{_text(path)} is never published: it is {reason}")
    return is_folder


def _demand_publishable(path: bytes, kind: str | None) -> None:
    if kind not in (None, "a folder"):
        raise RefusedError(f"{_text(path)} is {kind}; only files and folders are published")


def _text(path: bytes) -> str:
    return printable(path.decode("utf-8", "replace"))
