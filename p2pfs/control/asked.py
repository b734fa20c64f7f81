"""What is asked about contents, and what is told: values only, so that a command can import them.

Who answers is `content`, `known` and `published`.
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


class Several(msgspec.Struct, frozen=True):
    """Small files that are wanted together."""

    files: list[Wanted]


class LeafHash(msgspec.Struct, frozen=True):
    """The SHA-256 of bytes `[start, stop)`, in hexadecimal."""

    start: int
    stop: int
    sha256: str


class OwnFile(msgspec.Struct, frozen=True):
    """A file of this node with that content; `path` is below the share folder, or absolute."""

    path: str
    state: str


class ContentInfo(msgspec.Struct, frozen=True):
    """All that is known of a content.  `info --json` prints exactly this; fields are only added.

    `kind` is `file`, `directory` or `symlink`.  What only publishers can say (`names`, `tags`,
    `mime`, `crc32` in 8 hexadecimal digits, `published` in UNIX seconds) is empty or null where no
    publisher is known.  `publishers` and `providers` are peer ids.  Of a directory `entries` is how
    many it holds, `size` and `cached` (percent) are of all files below it, 0 and null where not all
    could be listed; of what is no directory `entries` is null.  A pipe gets a line a fact: its
    name, a tab, its value; lists with commas.
    """

    cid: str
    kind: str
    size: int
    names: list[str]
    tags: list[str]
    mime: str
    crc32: str
    published: int | None
    publishers: list[str]
    providers: list[str]
    cached: int | None
    pinned: bool
    own: list[OwnFile]
    last_error: str
    entries: int | None = None


class ToPublish(msgspec.Struct, frozen=True):
    """An absolute path without links, and tags in any spelling for all files there."""

    path: bytes
    tags: list[str]


class ToAwait(msgspec.Struct, frozen=True):
    """Such paths, which are published."""

    paths: list[bytes]


class ToUnpublish(msgspec.Struct, frozen=True):
    """The same thing named in one or more ways: absolute paths, a content id."""

    paths: list[bytes]
    cid: str = ""


class PublishedPath(msgspec.Struct, frozen=True):
    """A file or folder; `path` is absolute, or below the share folder if it lies there.

    `published` of its `files` can be found by others.  `cid` is its content id, null until it has
    one; `state` is as that of a file.
    """

    path: str
    cid: str | None
    state: str
    files: int
    published: int


class PublishedPaths(msgspec.Struct, frozen=True):
    """`publish --json` prints exactly this; fields are only ever added."""

    paths: list[PublishedPath]
