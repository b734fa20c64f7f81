"""Between attributes as we hold them and the structures pyfuse3 hands to the kernel."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pyfuse3

from p2pfs.fs.descriptors import Changes
from p2pfs.fs.tree import MAX_NAME_BYTES

if TYPE_CHECKING:
    from p2pfs.fs.tree import Node, Stat

# Content never changes; what is listed may change at any time, and is asked for again after this.
_CONTENT_SECONDS = 10
# The real folder may be changed behind the mount.
_SHARE_SECONDS = 1
_NANOSECONDS = 1_000_000_000
# What `cp` and others read at a time; one FUSE request carries it.
_BLOCK_BYTES = 128 * 1024


def content_entry(node: Node, found: Stat) -> pyfuse3.EntryAttributes:
    """An entry of the read-only tree: owned by who mounted it."""
    entry = _entry(node.inode, found.mode, _CONTENT_SECONDS)
    entry.st_nlink = 1  # of a directory it says: the number of its folders is not known
    entry.st_uid, entry.st_gid = os.getuid(), os.getgid()
    entry.st_size = found.size
    entry.st_blocks = found.blocks
    entry.st_blksize = _BLOCK_BYTES
    time = int(found.mtime * _NANOSECONDS)
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = time
    return entry


def real_entry(node: Node, found: os.stat_result) -> pyfuse3.EntryAttributes:
    """An entry of the share folder: all but the inode is the real file's."""
    entry = _entry(node.inode, found.st_mode, _SHARE_SECONDS)
    entry.st_nlink = found.st_nlink
    entry.st_uid, entry.st_gid = found.st_uid, found.st_gid
    entry.st_rdev = found.st_rdev
    entry.st_size = found.st_size
    entry.st_blocks = found.st_blocks
    entry.st_blksize = max(found.st_blksize, _BLOCK_BYTES)
    entry.st_atime_ns = found.st_atime_ns
    entry.st_mtime_ns = found.st_mtime_ns
    entry.st_ctime_ns = found.st_ctime_ns
    return entry


def dot_entry(inode: int) -> pyfuse3.EntryAttributes:
    """`.` or `..`, of which the kernel takes only inode and type."""
    return _entry(inode, stat.S_IFDIR, 0)


def asked_changes(attributes: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> Changes:
    """What a setattr request wants to be changed."""
    return Changes(
        mode=attributes.st_mode if fields.update_mode else None,
        uid=attributes.st_uid if fields.update_uid else None,
        gid=attributes.st_gid if fields.update_gid else None,
        size=attributes.st_size if fields.update_size else None,
        atime_ns=attributes.st_atime_ns if fields.update_atime else None,
        mtime_ns=attributes.st_mtime_ns if fields.update_mtime else None,
    )


def space(found: os.statvfs_result) -> pyfuse3.StatvfsData:
    """What `df` shows."""
    answer = pyfuse3.StatvfsData()
    answer.f_bsize, answer.f_frsize = found.f_bsize, found.f_frsize
    answer.f_blocks, answer.f_bfree = found.f_blocks, found.f_bfree
    answer.f_bavail = found.f_bavail
    answer.f_files, answer.f_ffree = found.f_files, found.f_ffree
    answer.f_favail = found.f_favail
    answer.f_namemax = MAX_NAME_BYTES
    return answer


def _entry(inode: int, mode: int, seconds: int) -> pyfuse3.EntryAttributes:
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = inode
    entry.st_mode = mode
    entry.entry_timeout = entry.attr_timeout = seconds
    return entry
