"""Extended attributes: what p2pfs says of a file, and in `share/` those of the real file too.

Answered from memory, but for what lies on the disk behind `share/`.
"""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from p2pfs.errors import ReadOnlyError
from p2pfs.fs.share import TAGS
from p2pfs.fs.tree import ContentFile, ContentFolder, Node, Shared
from p2pfs.identity import peer_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2pfs.fs.share import WritableFolder
    from p2pfs.identity import OwnKey
    from p2pfs.library.folders import Folders
    from p2pfs.library.ingest import Ingest
    from p2pfs.library.reading import Reading
    from p2pfs.store.share import Share
    from p2pfs.store.shares import Shares

# Only these are listed, so that `cp -a` and `rsync -X` carry no others along.
MIME = b"user.mime_type"
_OURS = b"user.p2pfs."
_OUR_TAGS = _OURS + b"tags"
_USER = b"user."
# The kernel asks for security.capability before every write: answered without a thread.
_SECURITY = b"security."


class ExtendedAttributes:
    """Every call may raise OSError.

    ENODATA is for an attribute that a file has not, ENOTSUP for one of a kind that none can have.
    """

    def __init__(
        self,
        reading: Reading,
        folder: WritableFolder,
        shares: Shares,
        ingest: Ingest,
        folders: Folders,
        own: OwnKey,
    ) -> None:
        self._reading = reading
        self._folder = folder
        self._shares = shares
        self._ingest = ingest
        self._folders = folders
        self._own = own

    async def get(self, node: Node, name: bytes) -> bytes:
        """One attribute."""
        if isinstance(node.thing, Shared):
            return await self._of_share(node, name)
        # `ls -l` asks every file for two of other kinds, 0.1 ms each, unless it is told once that
        # this file system has none: ENODATA made a known listing of 1,000 files take 0.23 s.
        if not name.startswith(_USER):
            raise _unsupported()
        if isinstance(node.thing, ContentFile):
            return _only(self._of_content(node, node.thing), name)
        if isinstance(node.thing, ContentFolder):
            return _only({_OURS + b"cid": str(node.thing.cid).encode()}, name)
        raise _missing()

    async def names(self, node: Node) -> list[bytes]:
        """What listxattr(2) says."""
        if isinstance(node.thing, Shared):
            real = await self._folder.attribute_names(node)
            ours = await self._published(node)
            kept = [name for name in real if name.startswith(_USER) and not name.startswith(_OURS)]
            return list(dict.fromkeys(kept + _listed(ours)))
        if isinstance(node.thing, ContentFile):
            return _listed(self._of_content(node, node.thing))
        return []

    async def set(self, node: Node, name: bytes, value: bytes) -> None:
        """Only for the real files of `share/`, and only what is not ours to say."""
        await self._folder.set_attribute(node, _settable(node, name), value)

    async def remove(self, node: Node, name: bytes) -> None:
        """As `set`."""
        await self._folder.remove_attribute(node, _settable(node, name))

    def _of_content(self, node: Node, file: ContentFile) -> dict[bytes, bytes]:
        held = self._reading.held(file.cid, file.size)
        said = {
            _OURS + b"cid": str(file.cid),
            _OURS + b"cached": str(100 * held // file.size if file.size else 100),
            _OURS + b"last_error": self._reading.last_error(file.cid),
        }
        listed = node.listed
        if listed is not None:
            said |= {
                **_described(listed.tags, listed.mime, listed.crc32),
                _OURS + b"publisher": _peers(listed.publishers),
                _OURS + b"published": _time(listed.published),
                _OURS + b"providers": _peers(one.public_key for one in listed.providers),
            }
        return {name: value.encode() for name, value in said.items()}

    async def _of_share(self, node: Node, name: bytes) -> bytes:
        if name.startswith(_OURS):
            return _only(await self._published(node), name)
        if name.startswith(_SECURITY):
            raise _missing()
        if not name.startswith(_USER):
            raise _unsupported()
        try:
            return await self._folder.get_attribute(node, name)
        except OSError as error:
            if error.errno != errno.ENODATA or name not in (TAGS, MIME):
                raise
        return _only(await self._published(node), name)

    async def _published(self, node: Node) -> dict[bytes, bytes]:
        """What p2pfs says of a file in `share/`; of what is published only while it is that."""
        path, found = self._folder.path(node), await self._folder.stat(node)
        if path and stat.S_ISDIR(found.st_mode):
            return self._of_folder(path)
        if path is None or not stat.S_ISREG(found.st_mode):
            return {}
        state, reason = self._ingest.state(path)
        reason = reason or _left_out(path)
        said = {
            _OURS + b"state": f"{state}: {reason}" if reason else str(state),
            _OURS + b"last_error": reason if state == "failed" else "",
        }
        share = self._shares.get(path)
        if share is not None and share.is_of(found):
            said |= self._of_row(share)
        return {name: value.encode() for name, value in said.items()}

    def _of_folder(self, path: bytes) -> dict[bytes, bytes]:
        state, reason = self._folders.state(path)
        cid = self._folders.cid(path)
        said = {_OURS + b"state": f"{state}: {reason}" if reason else str(state)}
        if cid is not None:
            said[_OURS + b"cid"] = str(cid)
        return {name: value.encode() for name, value in said.items()}

    def _of_row(self, share: Share) -> dict[bytes, str]:
        if share.cid is None:
            return {}
        return {
            **_described(share.tags, share.mime, share.crc32),
            _OURS + b"cid": str(share.cid),
            _OURS + b"publisher": _peers([self._own.public_key]),
            _OURS + b"published": _time(share.seq // 1_000) if share.seq else "",
            _OURS + b"providers": _peers([self._own.public_key]),
            _OURS + b"cached": "100",
        }


def _left_out(path: bytes) -> str:
    """What an own file cannot be, by its name alone."""
    try:
        path.rpartition(b"/")[2].decode()
    except UnicodeDecodeError:
        return "its name is not UTF-8, so it is left out of its folder's content id"
    return ""


def _settable(node: Node, name: bytes) -> bytes:
    """The attribute of the real file that is meant: tags have two names, and one place."""
    if not isinstance(node.thing, Shared):
        raise ReadOnlyError("attributes can be set in share/ only")
    if name == _OUR_TAGS:
        return TAGS
    if name.startswith(_OURS) or not name.startswith(_USER):
        raise _unsupported()
    return name


def _described(tags: Iterable[str], mime: str, crc32: int) -> dict[bytes, str]:
    joined = ",".join(tags)
    return {
        TAGS: joined,
        MIME: mime,
        _OUR_TAGS: joined,
        _OURS + b"mime": mime,
        _OURS + b"crc32": f"{crc32:08x}",
    }


def _listed(said: dict[bytes, bytes]) -> list[bytes]:
    return [name for name in (TAGS, MIME) if said.get(name)]


def _only(said: dict[bytes, bytes], name: bytes) -> bytes:
    if name not in said:
        raise _missing()
    return said[name]


def _peers(keys: Iterable[bytes]) -> str:
    return ",".join(peer_id(key) for key in keys if key)  # our own is empty until it is made


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _missing() -> OSError:
    return OSError(errno.ENODATA, os.strerror(errno.ENODATA))


def _unsupported() -> OSError:
    return OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
