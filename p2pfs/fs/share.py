"""The writable folder: a real one behind it, and `hints` told of what changes in it.

Inodes and names are kept in `tree`; system calls are made by `folder`, in the threads of `disk`.
What is published, and when, is for `p2pfs.library.ingest`.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from p2pfs.fs.descriptors import RENAME_EXCHANGE
from p2pfs.fs.disk import Disk
from p2pfs.fs.kernel import closes_quietly
from p2pfs.fs.tree import Node, Shared, Tree, holdable

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.fs.descriptors import Changes, Descriptor
    from p2pfs.fs.folder import Folder, Listing
    from p2pfs.library.hints import Hints


# What file managers edit: the tags a file is published under.
TAGS = b"user.xdg.tags"


@dataclass(slots=True, eq=False)
class SharedFile:
    """An open file of the share folder.  `path` is where `hints` last heard it is."""

    node: Node
    file: Descriptor
    writes: bool
    path: bytes


class WritableFolder:
    """What the kernel may ask of the share folder; every call may raise OSError."""

    def __init__(self, folder: Folder, tree: Tree, hints: Hints) -> None:
        self._folder = folder
        self._tree = tree
        self._hints = hints
        self._open_files: dict[Node, list[SharedFile]] = {}
        self.root = tree.at(Shared(*folder.identity()))
        tree.remember(self.root)  # for as long as there is a mount
        self._quiet_device = _device(self.root) if closes_quietly(_device(self.root)) else None
        self._disk = Disk(tree, self.root)

    async def lookup(self, parent: Node, name: bytes) -> tuple[Node, os.stat_result]:
        """The entry `parent/name`."""
        found = await self._disk.run(self._folder.stat_in, parent, _valid(name))
        return self.placed(parent, name, found), found

    async def stat(self, node: Node) -> os.stat_result:
        """The attributes of an entry, also of one that is open and no longer has a name."""
        opened = self._open_files.get(node)
        if opened:
            return await self._disk.run_once(opened[0].file.stat)
        return await self._disk.run(self._folder.stat, node)

    async def change(
        self, node: Node, changes: Changes, opened: SharedFile | None
    ) -> os.stat_result:
        """Set attributes, through the open file if the caller had one; those after it."""
        opened = opened or next(iter(self._open_files.get(node, ())), None)
        if opened is None:
            found = await self._disk.run(self._folder.change, node, changes)
        else:
            found = await self._change_opened(node, changes, opened)
        self._tell_changed(node)
        return found

    async def listing(self, node: Node) -> Listing:
        """What a directory holds now."""
        return await self._disk.run(self._folder.listing, node)

    def placed(self, parent: Node, name: bytes, found: os.stat_result) -> Node:
        """The node of what was found at `parent/name`."""
        node = self._tree.at(Shared(found.st_dev, found.st_ino))
        self._tree.link(node, parent, name, directory=stat.S_ISDIR(found.st_mode))
        return node

    async def open(self, node: Node, flags: int) -> SharedFile:
        """Open a file as the kernel has been asked to."""
        return self._opened(node, await self._disk.run(self._folder.open, node, flags), flags)

    async def create(
        self, parent: Node, name: bytes, flags: int, mode: int
    ) -> tuple[SharedFile, os.stat_result]:
        """Open `parent/name`, made if it is not there."""
        call = self._folder.create
        file, found = await self._disk.run(call, parent, _valid(name), flags, mode)
        opened = self._opened(self.placed(parent, name, found), file, flags)
        if not opened.writes:  # else opening it has told
            self._tell_changed(opened.node)
        return opened, found

    async def read(self, opened: SharedFile, offset: int, length: int) -> bytes:
        """Up to `length` bytes, fewer only at the end."""
        content = opened.file.read_nowait(offset, length)
        if content is None:
            content = await self._disk.run_once(opened.file.read, offset, length)
        return content

    async def write(self, opened: SharedFile, offset: int, content: bytes) -> int:
        """Write all of it."""
        count = await self._disk.run_once(opened.file.write, offset, content)
        self._hints.changed(opened.path)
        return count

    async def flush(self, opened: SharedFile) -> None:
        """Answer close(2): at once where the real one would say nothing."""
        if opened.writes and _device(opened.node) != self._quiet_device:
            await self._disk.run_once(opened.file.flush)

    async def sync(self, opened: SharedFile, *, only_data: bool) -> None:
        """fsync(2) or fdatasync(2)."""
        await self._disk.run_once(opened.file.sync_data if only_data else opened.file.sync)

    async def sync_folder(self, node: Node) -> None:
        """fsync(2) of a directory."""
        await self._disk.run_once((await self._disk.run(self._folder.open, node, os.O_RDONLY)).sync)

    async def close(self, opened: SharedFile) -> None:
        """Let go of an open file; in a thread, for the last close of a removed file takes time."""
        files = self._open_files[opened.node]
        files.remove(opened)
        if not files:
            del self._open_files[opened.node]
        last_reference = [opened.file]
        del opened.file
        await self._disk.run_once(last_reference.clear)  # unless a thread still uses the descriptor
        if opened.writes:
            self._hints.closed(opened.path)

    async def make_directory(
        self, parent: Node, name: bytes, mode: int
    ) -> tuple[Node, os.stat_result]:
        return await self._made(self._folder.make_directory, parent, name, mode)

    async def make_node(self, parent: Node, name: bytes, mode: int) -> tuple[Node, os.stat_result]:
        return await self._made(self._folder.make_node, parent, name, mode)

    async def make_link(
        self, parent: Node, name: bytes, target: bytes
    ) -> tuple[Node, os.stat_result]:
        """A symbolic link."""
        return await self._made(self._folder.make_link, parent, name, target)

    async def link(self, node: Node, parent: Node, name: bytes) -> tuple[Node, os.stat_result]:
        """A hard link."""
        found = await self._disk.run(self._folder.link, node, parent, _valid(name))
        linked = self.placed(parent, name, found)
        self._tell_changed(linked)
        return linked, found

    async def readlink(self, node: Node) -> bytes:
        return await self._disk.run(self._folder.readlink, node)

    async def remove(self, parent: Node, name: bytes) -> None:
        """unlink(2)."""
        last = await self._disk.run(self._folder.remove, parent, _valid(name))
        self._gone(parent, name, last=last)

    async def remove_directory(self, parent: Node, name: bytes) -> None:
        await self._disk.run(self._folder.remove_directory, parent, _valid(name))
        self._gone(parent, name, last=True)

    async def rename(self, old: tuple[Node, bytes], new: tuple[Node, bytes], flags: int) -> None:
        """renameat2(2)."""
        names = (old[0], _valid(old[1]), new[0], _valid(new[1]))
        last = await self._disk.run(self._folder.rename, *names, flags)
        if flags & RENAME_EXCHANGE:
            self._exchanged(old, new)
        else:
            self._moved(old, new, last=last)

    async def space(self) -> os.statvfs_result:
        """What a write can use."""
        return await self._disk.run_once(self._folder.space)

    async def get_attribute(self, node: Node, name: bytes) -> bytes:
        """An extended attribute of the real file."""
        return await self._disk.run(self._folder.get_attribute, node, name)

    async def attribute_names(self, node: Node) -> list[bytes]:
        return await self._disk.run(self._folder.attribute_names, node)

    async def set_attribute(self, node: Node, name: bytes, value: bytes) -> None:
        await self._disk.run(self._folder.set_attribute, node, name, value)
        self._tell_of_attribute(node, name)

    async def remove_attribute(self, node: Node, name: bytes) -> None:
        await self._disk.run(self._folder.remove_attribute, node, name)
        self._tell_of_attribute(node, name)

    def path(self, node: Node) -> bytes | None:
        """Where an entry is below the share folder, if it has a name."""
        return self._disk.path(node)

    async def _made(
        self, call: Callable[..., os.stat_result], parent: Node, name: bytes, argument: object
    ) -> tuple[Node, os.stat_result]:
        found = await self._disk.run(call, parent, _valid(name), argument)
        node = self.placed(parent, name, found)
        self._tell_changed(node)
        return node, found

    async def _change_opened(
        self, node: Node, changes: Changes, opened: SharedFile
    ) -> os.stat_result:
        if changes.size is not None and opened.writes:
            await self._disk.run_once(opened.file.truncate, changes.size)
            changes = replace(changes, size=None)
        if changes.size is not None:
            return await self._disk.run(self._folder.change, node, changes)
        return await self._disk.run_once(opened.file.change, changes)

    def _opened(self, node: Node, file: Descriptor, flags: int) -> SharedFile:
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        opened = SharedFile(node, file, writes, self._disk.path(node) or b"")
        self._open_files.setdefault(node, []).append(opened)
        if writes:
            self._hints.opened(opened.path)
        return opened

    def _moved(self, old: tuple[Node, bytes], new: tuple[Node, bytes], *, last: bool) -> None:
        old_path, new_path = self._disk.path_in(*old), self._disk.path_in(*new)
        replaced = self._tree.unlink(*new) if old != new else None
        if replaced is not None and last:
            self._tree.retire(replaced)
        self._tree.move(old, new)
        for files in self._open_files.values():
            for opened in files:
                opened.path = _path_after_rename(opened.path, old_path, new_path)
        self._hints.renamed(old_path, new_path)

    def _exchanged(self, one: tuple[Node, bytes], other: tuple[Node, bytes]) -> None:
        self._tree.exchange(one, other)
        for place in (one, other):
            self._hints.changed(self._disk.path_in(*place))

    def _gone(self, parent: Node, name: bytes, *, last: bool) -> None:
        path = self._disk.path_in(parent, name)
        node = self._tree.unlink(parent, name)
        if node is not None and last:
            self._tree.retire(node)
        self._hints.removed(path)

    def _tell_changed(self, node: Node) -> None:
        path = self._disk.path(node)
        if path is not None:
            self._hints.changed(path)

    def _tell_of_attribute(self, node: Node, name: bytes) -> None:
        path = self._disk.path(node)
        if path is not None and name == TAGS:
            self._hints.retagged(path)


def _device(node: Node) -> int:
    assert isinstance(node.thing, Shared)  # noqa: S101 only such nodes come here
    return node.thing.device


def _path_after_rename(path: bytes, old: bytes, new: bytes) -> bytes:
    is_moved = path == old or path.startswith(old + b"/")
    return new + path[len(old) :] if is_moved else path


def _valid(name: bytes) -> bytes:
    """A name for one entry; the kernel lets names through that no file system holds."""
    if not holdable(name):
        too_long = len(name) > 1 and b"/" not in name and b"\0" not in name and name != b".."
        number = errno.ENAMETOOLONG if too_long else errno.EINVAL
        raise OSError(number, os.strerror(number))
    return name
