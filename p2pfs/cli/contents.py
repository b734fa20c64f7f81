"""What a user means by CID|PATH; not a command."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import PurePosixPath

from p2pfs.content.cid import parse_cid
from p2pfs.errors import MalformedError, NotFoundError, UsageError

_CID_ATTRIBUTE = "user.p2pfs.cid"
_BY_HASH = "by-hash"


def content_named(word: str) -> str:
    """`CID[/path]` of what was named by a content id or by a path in the mount.

    Raises NotFoundError for a path where nothing is, UsageError for one outside of any mount.
    """
    if _is_cid(word.partition("/")[0]):
        return word
    with suppress(OSError):
        return os.getxattr(word, _CID_ATTRIBUTE).decode()
    parts = PurePosixPath(os.path.abspath(word)).parts
    for at, part in enumerate(parts[:-1]):
        if part == _BY_HASH and _is_cid(parts[at + 1]):
            return "/".join(parts[at + 1 :])
    if not os.path.lexists(word):
        raise NotFoundError(f"{word} is neither a content id nor a file")
    raise UsageError(f"{word} has no content id; name a file of the mount")


def _is_cid(text: str) -> bool:
    try:
        parse_cid(text)
    except MalformedError:
        return False
    return True
