"""What a file says about itself: title, tags from its metadata, MIME type, the user's own tags.

Reads through a descriptor, blocks (call it in a thread), and never raises: a file without
readable metadata has none.  How tags are spelt is for `content.tags`.
"""

from __future__ import annotations

import errno
import logging
import mimetypes
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from tinytag import TinyTag, TinyTagException

from p2pfs.content.tags import ATTRIBUTES, attribute_tag, normal_tag
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

# Where file managers keep the tags a user gives (freedesktop.org, "Common Extended Attributes").
USER_TAGS_ATTRIBUTE = "user.xdg.tags"
_UNKNOWN_MIME = "application/octet-stream"
_TEXT_MIME = "text/plain"
# Meta-info holds no longer one.
_MAX_MIME_BYTES = 64
# Enough to see NUL bytes, which no text has.
_SNIFFED_BYTES = 4096
_YEAR = re.compile(r"(?<!\d)(\d{4})(?!\d)")
# Endings that the standard library's table lacks, or has only where the system brings mime.types.
_OWN_MIMES = {
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".zst": "application/zstd",
}
# One table in this process, independent of the system's files: the same file, the same tags.
_MIME_TYPES = mimetypes.MimeTypes()


@dataclass(frozen=True, slots=True)
class Media:
    """`tags` are in normal form, from metadata only; `user_tags` is None if the user gave none."""

    mime: str
    title: str
    tags: tuple[str, ...]
    user_tags: tuple[str, ...] | None


def read_media(fd: int, name: str) -> Media:
    """What the file behind a readable descriptor says about itself; moves its offset."""
    metadata = _metadata(fd, name)
    return Media(
        mime=_mime(fd, name),
        title=_one_line(metadata.title) if metadata else "",
        tags=tuple(_tags(metadata)) if metadata else (),
        user_tags=read_user_tags(fd),
    )


def read_user_tags(fd: int) -> tuple[str, ...] | None:
    """The tags in the file's extended attribute, in normal form; None without the attribute."""
    try:
        raw = os.getxattr(fd, USER_TAGS_ATTRIBUTE)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            _log.debug("no extended attributes: %s", error)
        return None
    listed = raw.decode("utf-8", "replace").split(",")
    return tuple(dict.fromkeys(_normal_tags(listed)))


def _metadata(fd: int, name: str) -> TinyTag | None:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        with _borrowed(fd) as file:
            return TinyTag.get(name, file, duration=False)
    except (TinyTagException, OSError, ValueError):
        return None
    except Exception:  # noqa: BLE001
        # A parser of foreign formats: whatever else it stumbles over costs only the tags.
        _log.debug("the metadata of %r cannot be read", name, exc_info=True)
        return None


def _borrowed(fd: int) -> BinaryIO:
    return open(fd, "rb", closefd=False)


def _tags(metadata: TinyTag) -> Iterator[str]:
    for attribute in ATTRIBUTES:
        value = getattr(metadata, attribute, None)
        text = _one_line(_year(value) if attribute == "year" else value)
        with suppress(MalformedError):
            yield attribute_tag(attribute, text)


def _normal_tags(texts: list[str]) -> Iterator[str]:
    for text in texts:
        with suppress(MalformedError):
            yield normal_tag(text)


def _year(text: str | None) -> str | None:
    """`2019` out of `2019-05-01` and its like."""
    match = _YEAR.search(text or "")
    return match[1] if match else None


def _one_line(text: str | None) -> str:
    return " ".join((text or "").replace("\0", " ").split())


def _mime(fd: int, name: str) -> str:
    extension = os.path.splitext(name)[1].lower()
    mime = _OWN_MIMES.get(extension) or _guessed(name) or _sniffed(fd)
    return mime if len(mime.encode()) <= _MAX_MIME_BYTES else _UNKNOWN_MIME


def _guessed(name: str) -> str | None:
    mime, encoding = _MIME_TYPES.guess_type("name" + os.path.splitext(name)[1])
    if name.lower().endswith((".gz", ".tgz")):
        return "application/gzip"
    return None if encoding else mime


def _sniffed(fd: int) -> str:
    try:
        start = os.pread(fd, _SNIFFED_BYTES, 0)
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character cut at the end of what was read is still text.
        if error.start < _SNIFFED_BYTES - 3 or b"\0" in start:
            return _UNKNOWN_MIME
    except OSError:
        return _UNKNOWN_MIME
    return _TEXT_MIME if start and b"\0" not in start else _UNKNOWN_MIME
