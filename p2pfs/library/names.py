"""Names in a listing: safe to hold and to print, and who keeps which.

Pure.  Which contents are listed is for `listings`; how a name is published, for `metainfo`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from p2pfs.text import is_printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from p2pfs.content.cid import Cid

# What every file system p2pfs runs on can hold, and the kernel hands back.
MAX_NAME_BYTES = 255
# 48 bits of the digest: enough to tell apart what one listing holds, short enough to read.
SHORT_CID_CHARACTERS = 10
# A longer "extension" is a part of the name that follows a dot.
_MAX_EXTENSION_BYTES = 16
_REPLACEMENT = "_"
_DISTINCT = re.compile(rf"~([a-z2-7]{{{SHORT_CID_CHARACTERS}}})$")


def safe_name(name: str) -> str:
    """A name that a directory can hold and a terminal can print, the same for the same `name`.

    Never empty, `.` or `..`, never hidden, without `/`, NUL, control characters, line separators
    or what turns the writing direction, at most 255 bytes of UTF-8.
    """
    safe = "".join(_printable(character) for character in name)
    if safe.startswith("."):
        safe = _REPLACEMENT + safe[1:]
    return _fitted(safe or _REPLACEMENT)


def is_safe(text: str) -> bool:
    """Whether a directory can hold it, and a terminal print it, as it is."""
    return safe_name(text) == text


def short_cid(cid: Cid) -> str:
    """The end of the CID's text: its beginning is the same for all."""
    return str(cid.v1)[-SHORT_CID_CHARACTERS:]


def distinct_name(name: str, cid: Cid) -> str:
    """`name~<short cid>.ext` of a safe name: the spelling that always resolves."""
    stem, extension = _split(name)
    mark = f"~{short_cid(cid)}"
    room = MAX_NAME_BYTES - len((mark + extension).encode())
    return _cut(stem, room) + mark + extension


def entry_name(name: str, cid: Cid) -> str:
    """The name by which an entry of a directory of the network is shown, and saved.

    As it is, dots in front included, unless no file system can hold it or no terminal should
    print it: then it is rendered safe, and told from others by its content id.
    """
    body = name.lstrip(".")
    is_printable = not body or is_safe(body)
    if name in ("", ".", "..") or not is_printable or len(name.encode()) > MAX_NAME_BYTES:
        return distinct_name(safe_name(name), cid)
    return name


def named(contents: Iterable[tuple[Cid, str]], kept: Mapping[str, Cid]) -> dict[str, Cid]:
    """One safe name for each content, given its published names in order of rank.

    A plain name that `kept` gives to a content stays with it, also while that is not listed;
    otherwise the first in line gets it, and everybody else the distinct spelling.
    """
    names: dict[str, Cid] = {}
    for cid, published in contents:
        plain = safe_name(published)
        free = kept.get(plain, cid) == cid and not _is_distinct_of_another(plain, cid)
        if free and names.setdefault(plain, cid) == cid:
            continue
        names[distinct_name(plain, cid)] = cid
    return names


def _is_distinct_of_another(name: str, cid: Cid) -> bool:
    """Whether a plain name looks like another content's distinct one, which it must not shadow."""
    match = _DISTINCT.search(_split(name)[0])
    return match is not None and match[1] != short_cid(cid)


def _printable(character: str) -> str:
    return character if character != "/" and is_printable(character) else _REPLACEMENT


def _fitted(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, extension = _split(name)
    return _cut(stem, MAX_NAME_BYTES - len(extension.encode())) + extension


def _split(name: str) -> tuple[str, str]:
    """The stem and the extension with its dot; a leading dot starts no extension."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _MAX_EXTENSION_BYTES:
        return name, ""
    return stem, dot + extension


def _cut(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode("utf-8", "ignore")
