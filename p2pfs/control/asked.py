"""What is asked about contents, and what is told: values only, so that a command can import them.

Who answers is `content`.
"""

from __future__ import annotations

import msgspec


class Asked(msgspec.Struct, frozen=True):
    """A content id, and the names on the way to something below it."""

    cid: str
    path: list[str] = []


class What(msgspec.Struct, frozen=True):
    """`kind` is `file`, `directory` or `symlink`; `target` is whatever a link's author wrote.

    `size` is bytes of content, 0 for a directory.
    """

    kind: str
    cid: str
    size: int
    target: str


class Child(msgspec.Struct, frozen=True):
    """An entry of a directory; its name is one that a folder can hold and a terminal print."""

    name: str
    what: What


class Wanted(msgspec.Struct, frozen=True):
    """A file of `size` bytes, from byte `start` to its end."""

    cid: str
    size: int
    start: int = 0


class LeafHash(msgspec.Struct, frozen=True):
    """The SHA-256 of bytes `[start, stop)`, in hexadecimal."""

    start: int
    stop: int
    sha256: str
