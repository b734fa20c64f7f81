"""What a user means by CID|PATH; not a command."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from p2pfs.content.cid import parse_cid
from p2pfs.control.asked import Asked
from p2pfs.errors import MalformedError, NotFoundError, UsageError
from p2pfs.library.names import safe_name

# Taken as it was typed, for a Path makes ipfs:/ of ipfs://; and completed by shells as a path is.
Word = str | Path

_CID_ATTRIBUTE = "user.p2pfs.cid"
_BY_HASH = "by-hash"
_LISTINGS = ("by-tag", "search")
_SCHEME = "ipfs://"
_GATEWAY_PATH = "/ipfs/"


def asked_of(word: Word) -> tuple[Asked, str]:
    """What to ask the node for, and a name to save it by; raises as `content_named`."""
    named = content_named(word)
    cid, *path = (part for part in named.split("/") if part)
    own = os.path.basename(os.path.abspath(word)) if os.path.lexists(word) else (cid, *path)[-1]
    return Asked(cid, path), safe_name(own)


def content_named(word: Word) -> str:
    """`CID[/path]` of what was named by a content id or by a path in the mount.

    A content id may come as `ipfs://CID` or `/ipfs/CID`, as other programs write it.  Raises
    NotFoundError for a path where nothing is, UsageError for one outside of any mount.
    """
    named = content_id_of(word)
    if named is not None:
        return named
    parts = PurePosixPath(os.path.abspath(word)).parts
    for at, part in enumerate(parts[:-1]):
        if part == _BY_HASH and _is_cid(parts[at + 1]):
            return "/".join(parts[at + 1 :])
    if not os.path.lexists(word):
        raise NotFoundError(f"{word} is neither a content id nor a file")
    if any(part in _LISTINGS for part in parts) and os.path.isdir(word):
        raise UsageError(f"{word} is a listing, no folder with a content id: name a file in it")
    raise UsageError(f"{word} has no content id; name a file of the mount")


def content_id_of(word: Word) -> str | None:
    """The same where it is told by the word, or by the mount; else None."""
    text = str(word)
    bare = unquote(text.removeprefix(_SCHEME)) if text.startswith(_SCHEME) else text
    bare = bare.removeprefix(_GATEWAY_PATH)
    if _is_cid(bare.partition("/")[0]):
        return bare
    with suppress(OSError):
        return os.getxattr(word, _CID_ATTRIBUTE).decode()
    return None


def _is_cid(text: str) -> bool:
    try:
        parse_cid(text)
    except MalformedError:
        return False
    return True
