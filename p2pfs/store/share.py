"""A published file as a value: what was hashed of it, and how far it is on its way to others.

Where it is kept, and opening it, is for `shares`.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from p2pfs.store.files import exact_stamp_of, stamp_of

if TYPE_CHECKING:
    import os

    from p2pfs.content.cid import Cid
    from p2pfs.store.files import ExactStamp, Stamp


class ShareState(StrEnum):
    """What `user.p2pfs.state` says first."""

    WAITING = "waiting"
    HASHING = "hashing"
    ANNOUNCING = "announcing"
    PUBLISHED = "published"
    IGNORED = "ignored"
    FAILED = "failed"


SERVED = (ShareState.ANNOUNCING, ShareState.PUBLISHED)
"""A file that is being written, left out or has failed is nothing that others may have."""


@dataclass(frozen=True, slots=True)
class Share:
    """A published file as it was when it was hashed.

    `path` is relative to the share folder, or absolute if it lies elsewhere; `FolderShares` has it
    relative to another folder.  `seq` and `announced_until` are of the last meta-info that another
    node accepted, 0 before the first.  With any other ctime than `ctime_ns` its content may be
    another too; this says nothing of what is published, and is not compared.
    """

    path: bytes
    dev: int
    ino: int
    size: int
    mtime_ns: int
    cid: Cid | None
    crc32: int
    mime: str
    name: str
    title: str
    tags: tuple[str, ...]
    state: ShareState
    reason: str = ""
    seq: int = 0
    announced_until: int = 0
    hash_seconds: float = 0.0
    ctime_ns: int = field(default=0, compare=False)

    @property
    def stamp(self) -> Stamp:
        """As `stamp_of` the file that was hashed."""
        return self.ino, self.size, self.mtime_ns

    @property
    def exact_stamp(self) -> ExactStamp:
        """As `exact_stamp_of` it when its content was last certain."""
        return *self.stamp, self.ctime_ns

    def is_of(self, status: os.stat_result) -> bool:
        """Whether the file found is the one that was hashed.

        The device does not count: its number can change with every start of the machine (btrfs,
        NFS, USB), and a path, an inode and a time in nanoseconds do not repeat on another.
        """
        return stamp_of(status) == self.stamp and stat.S_ISREG(status.st_mode)

    def is_untouched(self, status: os.stat_result) -> bool:
        """Whether neither content nor attributes of it can be others."""
        return exact_stamp_of(status) == self.exact_stamp and stat.S_ISREG(status.st_mode)

    def tags_include(self, tags: tuple[str, ...]) -> bool:
        """Whether it has all of these."""
        return set(tags) <= set(self.tags)
