"""`publish`, `unpublish`: files and folders that are served from where they lie.

A path comes as the user's shell has it, without links.  What may be published, and following it,
is for `library.publishing`; waiting is done here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from p2pfs.content.cid import parse_cid
from p2pfs.control.asked import PublishedPath, PublishedPaths, ToAwait, ToPublish, ToUnpublish
from p2pfs.control.calls import Answering, Nothing, Telling
from p2pfs.control.owned import below_share, normal_tags, own_path, write_tags
from p2pfs.errors import MalformedError, NoPeersError, NotFoundError, RefusedError, UsageError
from p2pfs.library.rounds import NO_PEERS
from p2pfs.library.standing import Place, Standing, file_standing, folder_standing
from p2pfs.status import text_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from p2pfs.content.cid import Cid
    from p2pfs.control.calls import Endpoint
    from p2pfs.library.publishing import Publishing
    from p2pfs.store.shares import Shares

# A person sees a bar move; a look at a folder of a thousand files takes 30 ms.
_LOOK_SECONDS = 0.3
_LOOK_SHARE = 10
# A node that has just started finds its peers in a few seconds.
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Published:
    """Whom to ask; `seen` is where a user sees the share folder."""

    publishing: Publishing
    shares: Shares
    share_folder: Place
    seen: Sequence[Path]

    async def publish(self, asked: ToPublish) -> PublishedPath:
        """Raises as `Publishing.publish`; what lies in share/ is published already."""
        tags = tuple(normal_tags(asked.tags))
        below = below_share(asked.path, self.seen)
        if below is None:
            return _told(await self.publishing.publish(asked.path, tags))
        if tags:
            await trio.to_thread.run_sync(write_tags, self.shares.folder, below, tags)
            self.share_folder.ingest.hints.retagged(below)
        return _told(await self._standing(asked.path))

    async def unpublish(self, asked: ToUnpublish) -> PublishedPath:
        """What is no longer published.  Raises as `Publishing.unpublish`."""
        for path in asked.paths:
            if self.publishing.holder(path) is not None:
                return await self._unpublish(path)
        for path in asked.paths:
            if below_share(path, self.seen) is not None:
                raise _in_share(path)
        if asked.cid:
            return await self._unpublish(self._path_of(_parsed(asked.cid)))
        raise NotFoundError(
            f"{text_of(asked.paths[0])} is not published; `p2pfs publish` lists what is"
        )

    async def all(self, _: Nothing) -> PublishedPaths:
        """What lies elsewhere than in share/."""
        return PublishedPaths(list(map(_told, self.publishing.all())))

    async def wait(self, asked: ToAwait) -> AsyncGenerator[PublishedPaths, None]:
        """How it stands, again and again, until there is nothing to wait for.

        Raises NoPeersError if nobody has been there for a while who could take it in.
        """
        before: list[Standing] = []
        moved_at = trio.current_time()
        while True:
            started = trio.current_time()
            standings = [await self._standing(path) for path in asked.paths]
            if standings != before:
                before, moved_at = standings, started
                yield PublishedPaths(list(map(_told, standings)))
            if all(standing.is_settled for standing in standings):
                return
            alone = any(standing.reason.endswith(NO_PEERS) for standing in standings)
            if alone and started > moved_at + _PATIENCE_SECONDS:
                raise NoPeersError(
                    f"nobody has been there for {_PATIENCE_SECONDS:.0f} s who could be told; "
                    "it stays published, and the first peer will be"
                )
            took = trio.current_time() - started
            await trio.sleep(max(_LOOK_SECONDS, _LOOK_SHARE * took))

    async def _standing(self, path: bytes) -> Standing:
        if below_share(path, self.seen) is None:
            return self.publishing.standing(path)
        below = own_path(path, self.seen)
        file = os.path.join(os.fsencode(self.shares.folder), below)
        if await trio.to_thread.run_sync(os.path.isdir, file):
            return folder_standing(self.share_folder, below)
        if not await trio.to_thread.run_sync(os.path.lexists, file):
            raise NotFoundError(f"there is no {text_of(below)} in share/")
        return file_standing(self.share_folder, below)

    async def _unpublish(self, path: bytes) -> PublishedPath:
        before = self.publishing.standing(path)
        await self.publishing.unpublish(path)
        return _told(before)

    def _path_of(self, cid: Cid) -> bytes:
        """The one path that was published and has this content."""
        paths = [standing.path for standing in self.publishing.all() if standing.cid == cid.v1]
        if len(paths) > 1:
            named = ", ".join(map(text_of, paths))
            raise UsageError(f"{cid} is the content of several paths; name one of {named}")
        if paths:
            return paths[0]
        for share in self.shares.by_cid(cid):
            if not share.path.startswith(b"/"):
                raise _in_share(share.path)
            return share.path  # a part of what was published, which is said when it is refused
        raise NotFoundError(f"{cid} is not published; `p2pfs publish` lists what is")


def publishing_endpoints(published: Published) -> dict[str, Endpoint]:
    """What can be asked of paths that are published."""
    return {
        "publish": Answering(ToPublish, published.publish),
        "published": Answering(Nothing, published.all),
        "await": Telling(ToAwait, published.wait),
        "unpublish": Answering(ToUnpublish, published.unpublish),
    }


def _told(standing: Standing) -> PublishedPath:
    return PublishedPath(
        path=text_of(standing.path),
        cid=str(standing.cid) if standing.cid else None,
        state=": ".join(filter(None, (standing.state, standing.reason))),
        files=standing.files,
        published=standing.published,
    )


def _in_share(path: bytes) -> RefusedError:
    return RefusedError(
        f"{text_of(path)} is published by being in share/; delete it, or move it out of share/"
    )


def _parsed(text: str) -> Cid:
    try:
        return parse_cid(text)
    except MalformedError as error:
        raise UsageError(f"{text!r} is no content id: {error}") from error
