"""Kernel requests in, errnos out: an adapter and nothing else.

What the read-only tree is lives in `views`, the writable folder in `share`, attributes in
`xattrs`; failures become errnos in `errnos`, around every handler below.
"""

# ruff: noqa: ARG002  pyfuse3 says what a handler is given

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pyfuse3
import trio

from p2pfs.errors import ReadOnlyError
from p2pfs.fs.entries import asked_changes, content_entry, dot_entry, real_entry, space
from p2pfs.fs.errnos import every_handler_answered
from p2pfs.fs.handles import (
    ContentHandle,
    Handles,
    PageHandle,
    SharedHandle,
    SharedListing,
    ViewListing,
)
from p2pfs.fs.limits import WaitingReads
from p2pfs.fs.tree import (
    MAX_NAME_BYTES,
    ROOT_INODE,
    ContentFile,
    ContentLink,
    Page,
    Place,
    Shared,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.fs.handles import Line
    from p2pfs.fs.limits import Deadlines
    from p2pfs.fs.share import WritableFolder
    from p2pfs.fs.tree import Node, Tree
    from p2pfs.fs.views import Views
    from p2pfs.fs.xattrs import ExtendedAttributes

_SHARE = b"share"


@every_handler_answered
class Operations(pyfuse3.Operations):
    """The handlers, named and called as pyfuse3 demands.

    `initialised` is set at the kernel's first request.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False  # it would hide what changes in the real folder

    def __init__(
        self, tree: Tree, views: Views, share: WritableFolder, xattrs: ExtendedAttributes
    ) -> None:
        super().__init__()
        self._tree = tree
        self._views = views
        self._share = share
        self._xattrs = xattrs
        self._handles = Handles()
        self.reads = WaitingReads()
        self.initialised = trio.Event()

    def allow(self, deadlines: Deadlines, max_background: int) -> None:
        """Keep to what the kernel allows this mount."""
        self._views.deadlines = deadlines
        self.reads.allow(deadlines, max_background)

    def init(self) -> None:
        self.initialised.set()

    # Names and attributes

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        parent = self._tree.node(parent_inode)
        if len(name) > MAX_NAME_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if parent.thing is Place.ROOT and name == _SHARE:
            return self._known(self._share.root, await self._share.stat(self._share.root))
        if isinstance(parent.thing, Shared):
            return self._known(*await self._share.lookup(parent, name))
        node = await self._views.lookup(parent, name)
        self._tree.remember(node)
        return content_entry(node, self._views.stat(node))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, lookups in inode_list:
            self._tree.forget(inode, lookups)

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        node = self._tree.node(inode)
        if isinstance(node.thing, Shared):
            return real_entry(node, await self._share.stat(node))
        return content_entry(node, self._views.stat(node))

    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = self._shared(inode)
        opened = None if fh is None else self._handles.written(fh).file
        found = await self._share.change(node, asked_changes(attr, fields), opened)
        return real_entry(node, found)

    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        node = self._tree.node(inode)
        if isinstance(node.thing, ContentLink):
            return node.thing.target
        return await self._share.readlink(self._shared(inode))

    async def access(self, inode: int, mode: int, ctx: pyfuse3.RequestContext) -> bool:
        return True  # the kernel checks modes itself (default_permissions)

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        return space(await self._share.space())

    # Entries come and go, in `share/`

    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        parent = self._shared(parent_inode)
        return self._known(*await self._share.make_node(parent, name, mode))

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        parent = self._shared(parent_inode)
        return self._known(*await self._share.make_directory(parent, name, mode))

    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        parent = self._shared(parent_inode)
        return self._known(*await self._share.make_link(parent, name, target))

    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        parent = self._shared(new_parent_inode)
        node = self._tree.node(inode)
        if not isinstance(node.thing, Shared):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))  # as between file systems
        return self._known(*await self._share.link(node, parent, new_name))

    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._share.remove(self._shared(parent_inode), name)

    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._share.remove_directory(self._shared(parent_inode), name)

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        old = self._shared(parent_inode_old), name_old
        await self._share.rename(old, (self._shared(parent_inode_new), name_new), flags)

    # Open files

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        parent = self._shared(parent_inode)
        opened, found = await self._share.create(parent, name, flags, mode)
        handle = self._handles.add(SharedHandle(opened, self._share))
        return pyfuse3.FileInfo(fh=handle), self._known(opened.node, found)

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        node = self._tree.node(inode)
        if isinstance(node.thing, Shared):
            opened = await self._share.open(node, flags)
            return pyfuse3.FileInfo(fh=self._handles.add(SharedHandle(opened, self._share)))
        # Root gets past the mode of a file, so the kernel's word is not enough.
        if flags & (os.O_ACCMODE | os.O_TRUNC) != os.O_RDONLY:
            raise ReadOnlyError("content never changes")
        if isinstance(node.thing, ContentFile):
            content = ContentHandle(*await self._views.open(node), self.reads)
            return pyfuse3.FileInfo(fh=self._handles.add(content), keep_cache=True)
        page = PageHandle(self._views.page(node))
        is_live = isinstance(node.thing, Page)
        return pyfuse3.FileInfo(fh=self._handles.add(page), direct_io=is_live)

    async def read(self, fh: int, off: int, size: int) -> bytes | bytearray:  # type: ignore[override]  # any buffer will do
        return await self._handles.file(fh).read(off, size)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._handles.written(fh).write(off, buf)

    async def flush(self, fh: int) -> None:
        await self._handles.file(fh).flush()

    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._handles.file(fh).sync(only_data=datasync)

    async def release(self, fh: int) -> None:
        handle = self._handles.file(fh)
        self._handles.remove(fh)
        await handle.close()

    # Open directories

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        node = self._tree.node(inode)
        if isinstance(node.thing, Shared):
            return self._handles.add(SharedListing(node, self._share))
        entries = await self._views.entries(node)
        others: list[Line] = []
        if node.thing is Place.ROOT:
            root = self._share.root
            others.append((_SHARE, root, real_entry(root, await self._share.stat(root))))
        return self._handles.add(ViewListing(node, entries, self._views, others))

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        folder = self._handles.folder(fh)
        dots = ((b".", folder.node.inode), (b"..", ROOT_INODE))
        for number, (name, inode) in enumerate(dots[start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, dot_entry(inode), number):
                return
        first = max(start_id, len(dots))
        lines = await folder.lines(first - len(dots))
        for number, (name, node, entry) in enumerate(lines, first + 1):
            if not pyfuse3.readdir_reply(token, name, entry, number):
                self._tree.drop_unused(node)
                return
            self._tree.remember(node)

    async def releasedir(self, fh: int) -> None:
        self._handles.remove(fh)

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._handles.folder(fh).sync()

    # Extended attributes

    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        return await self._xattrs.get(self._tree.node(inode), name)

    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> list[bytes]:
        return await self._xattrs.names(self._tree.node(inode))

    async def setxattr(
        self, inode: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext
    ) -> None:
        await self._xattrs.set(self._tree.node(inode), name, value)

    async def removexattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._xattrs.remove(self._tree.node(inode), name)

    def _shared(self, inode: int) -> Node:
        """The node of an inode in `share/`: nothing else can be changed."""
        node = self._tree.node(inode)
        if not isinstance(node.thing, Shared):
            raise ReadOnlyError("this is the network's, not yours")
        return node

    def _known(self, node: Node, found: os.stat_result) -> pyfuse3.EntryAttributes:
        """Answer with an entry of `share/`, which the kernel knows from now on."""
        self._tree.remember(node)
        return real_entry(node, found)
