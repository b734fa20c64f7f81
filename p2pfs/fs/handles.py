"""What is open: files and directories, by the number the kernel knows them by."""

from __future__ import annotations

import errno
import os
from functools import partial
from itertools import chain, count, islice
from typing import TYPE_CHECKING

from p2pfs.fs.entries import content_entry, real_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pyfuse3

    from p2pfs.fs.folder import Listing
    from p2pfs.fs.limits import WaitingReads
    from p2pfs.fs.share import SharedFile, WritableFolder
    from p2pfs.fs.tree import Node
    from p2pfs.fs.views import Entry, Views
    from p2pfs.library.openfile import OpenFile

# A line of a listing: its name, its node, and what the kernel is told of it.
Line = tuple[bytes, "Node", "pyfuse3.EntryAttributes"]


class ContentHandle:
    """An open file of the network."""

    def __init__(self, opened: OpenFile, held: Callable[[], int], reads: WaitingReads) -> None:
        self._opened = opened
        self._reads = reads
        self._held = held

    async def read(self, offset: int, length: int) -> bytes | bytearray:
        """Checked bytes; fewer only at the end."""
        return await self._reads.run(partial(self._opened.read, offset, length), self._held)

    async def flush(self) -> None:
        """Nothing was written."""

    async def sync(self, *, only_data: bool) -> None:
        """Nothing was written."""

    async def close(self) -> None:
        self._opened.close()


class PageHandle:
    """An open virtual file: its text as it was when it was opened."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    async def read(self, offset: int, length: int) -> bytes:
        return self._text[offset : offset + length]

    async def flush(self) -> None:
        """Nothing was written."""

    async def sync(self, *, only_data: bool) -> None:
        """Nothing was written."""

    async def close(self) -> None:
        """Nothing is held."""


class SharedHandle:
    """An open file of the share folder."""

    def __init__(self, file: SharedFile, folder: WritableFolder) -> None:
        self.file = file
        self._folder = folder

    async def read(self, offset: int, length: int) -> bytes:
        return await self._folder.read(self.file, offset, length)

    async def write(self, offset: int, content: bytes) -> int:
        return await self._folder.write(self.file, offset, content)

    async def flush(self) -> None:
        await self._folder.flush(self.file)

    async def sync(self, *, only_data: bool) -> None:
        await self._folder.sync(self.file, only_data=only_data)

    async def close(self) -> None:
        await self._folder.close(self.file)


class ViewListing:
    """An open directory of the read-only tree: what was in it when it was opened.

    `others` are lines for what does not belong to `views`.
    """

    def __init__(
        self, node: Node, entries: list[Entry], views: Views, others: Sequence[Line] = ()
    ) -> None:
        self.node = node
        self._entries = entries
        self._views = views
        self._others = others

    async def lines(self, start: int) -> Iterable[Line]:
        """The lines from the one with the number `start`, made as they are taken."""
        own = map(self._line, islice(self._entries, max(start - len(self._others), 0), None))
        return chain(islice(self._others, start, None), own)

    async def sync(self) -> None:
        """Nothing was written."""

    def _line(self, entry: Entry) -> Line:
        node = self._views.placed(entry)
        return entry.name, node, content_entry(node, self._views.stat(node))


class SharedListing:
    """An open directory of the share folder: read anew whenever it is read from its beginning."""

    def __init__(self, node: Node, folder: WritableFolder) -> None:
        self.node = node
        self._folder = folder
        self._entries: Listing = []

    async def lines(self, start: int) -> Iterable[Line]:
        """The lines from the one with the number `start`, made as they are taken."""
        if start == 0:
            self._entries = await self._folder.listing(self.node)
        return (self._line(name, found) for name, found in islice(self._entries, start, None))

    async def sync(self) -> None:
        await self._folder.sync_folder(self.node)

    def _line(self, name: bytes, found: os.stat_result) -> Line:
        node = self._folder.placed(self.node, name, found)
        return name, node, real_entry(node, found)


FileHandle = ContentHandle | PageHandle | SharedHandle
FolderHandle = ViewListing | SharedListing


class Handles:
    """The table of what is open; a number is never used twice."""

    def __init__(self) -> None:
        self._next = count(1)
        self._open: dict[int, FileHandle | FolderHandle] = {}

    def add(self, handle: FileHandle | FolderHandle) -> int:
        number = next(self._next)
        self._open[number] = handle
        return number

    def file(self, number: int) -> FileHandle:
        """Raises EBADF for what is not an open file."""
        handle = self._open.get(number)
        if not isinstance(handle, FileHandle):
            raise _bad()
        return handle

    def written(self, number: int) -> SharedHandle:
        """A file that can be written to; raises EBADF."""
        handle = self._open.get(number)
        if not isinstance(handle, SharedHandle):
            raise _bad()
        return handle

    def folder(self, number: int) -> FolderHandle:
        """Raises EBADF for what is not an open directory."""
        handle = self._open.get(number)
        if not isinstance(handle, FolderHandle):
            raise _bad()
        return handle

    def remove(self, number: int) -> None:
        self._open.pop(number, None)


def _bad() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))
