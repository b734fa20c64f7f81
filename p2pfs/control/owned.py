"""`tag`: the tags of an own file, shown or set.

A path comes as the user's shell has it; which file of `share/` that is, is found here.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import trio

from p2pfs.content.tags import normal_tag
from p2pfs.control.calls import Answering
from p2pfs.errors import NotFoundError, NotPermittedError, P2pfsError, UsageError
from p2pfs.library.media import USER_TAGS_ATTRIBUTE
from p2pfs.status import text_of
from p2pfs.store.beneath import open_beneath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from p2pfs.control.calls import Endpoint
    from p2pfs.store.shares import Shares


class Tagging(msgspec.Struct, frozen=True):
    """An absolute path without links on its way, and its user's tags; none to be told them."""

    path: bytes
    tags: list[str]


class Tagged(msgspec.Struct, frozen=True):
    """A file below the share folder, and its tags.

    When they were just set, the folders' are not among them, and not yet announced.  `tag --json`
    prints exactly this; fields are only ever added.
    """

    path: str
    tags: list[str]


def tag_endpoints(
    shares: Shares, retagged: Callable[[bytes], None], places: Sequence[Path]
) -> dict[str, Endpoint]:
    """What can be asked of own files; `places` is where a user sees the share folder."""

    async def tag(asked: Tagging) -> Tagged:
        path = own_path(asked.path, places)
        if not asked.tags:
            await trio.to_thread.run_sync(_demand_file, shares.folder, path)
            return Tagged(text_of(path), _told_tags(shares, path))
        tags = normal_tags(asked.tags)
        await trio.to_thread.run_sync(write_tags, shares.folder, path, tags)
        retagged(path)
        return Tagged(text_of(path), tags)

    return {"tag": Answering(Tagging, tag)}


def share_places(folder: Path, mount: Path | None) -> list[Path]:
    """Where a user sees the share folder: the real one, and the one in the mount."""
    seen = [folder.resolve()]
    # The mount itself is not looked at: only this node could answer.
    return seen if mount is None else [*seen, mount.parent.resolve() / mount.name / "share"]


def below_share(path: bytes, places: Sequence[Path]) -> bytes | None:
    """The same path relative to the share folder; None if it does not lie in it."""
    for place in places:
        above = os.fsencode(place) + b"/"
        if path.startswith(above):
            return path[len(above) :]
    return None


def own_path(path: bytes, places: Sequence[Path]) -> bytes:
    """The same; raises UsageError for any other path."""
    below = below_share(path, places)
    if below is None:
        raise UsageError(f"{text_of(path)} does not lie in share/, so it has no tags of yours")
    return below


def _told_tags(shares: Shares, path: bytes) -> list[str]:
    share = shares.get(path)
    if share is None:
        raise NotFoundError(f"{text_of(path)} is not published; its user.p2pfs.state says why")
    return list(share.tags)


def normal_tags(texts: Sequence[str]) -> list[str]:
    """In normal form, without doubles.  Raises UsageError for what is no tag.

    A comma is none: it separates tags in the attribute.
    """
    if any("," in text for text in texts):
        raise UsageError("a tag has no comma; give several tags as several words")
    try:
        return list(dict.fromkeys(map(normal_tag, texts)))
    except P2pfsError as error:
        raise UsageError(str(error)) from error


def write_tags(folder: Path, path: bytes, tags: Sequence[str]) -> None:
    """Make them the user's own of a file below the folder; blocking."""
    with _open_file(folder, path) as fd:
        os.setxattr(fd, USER_TAGS_ATTRIBUTE, ",".join(tags).encode())


def _demand_file(folder: Path, path: bytes) -> None:
    with _open_file(folder, path):
        pass


@contextmanager
def _open_file(folder: Path, path: bytes) -> Iterator[int]:
    try:
        fd = open_beneath(folder, path)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise UsageError(f"{text_of(path)} is no file; a folder's name is its files' tag")
            yield fd
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no {text_of(path)} in share/") from error
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: bytes, error: OSError) -> P2pfsError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotPermittedError(f"{text_of(path)} may not be changed: {error.strerror}")
    return P2pfsError(f"{text_of(path)} cannot keep tags: {error.strerror}")
