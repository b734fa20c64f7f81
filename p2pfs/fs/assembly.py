"""The file system put together from its parts, so that `node` need not know them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from p2pfs.fs.folder import open_folder
from p2pfs.fs.operations import Operations
from p2pfs.fs.share import WritableFolder
from p2pfs.fs.tree import Tree
from p2pfs.fs.views import Views
from p2pfs.fs.xattrs import ExtendedAttributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from p2pfs.identity import OwnKey
    from p2pfs.library.folders import Folders
    from p2pfs.library.ingest import Ingest
    from p2pfs.library.reading import Reading
    from p2pfs.library.searching import Searches
    from p2pfs.store.shares import Shares


def build_operations(
    reading: Reading,
    searches: Searches,
    shares: Shares,
    ingest: Ingest,
    folders: Folders,
    own: OwnKey,
    pages: Mapping[str, Callable[[], bytes]],
) -> Operations:
    """What `open_mount` mounts; raises OSError if the share folder cannot be opened.

    `pages` are the files of `.p2pfs/` by name, each made when it is opened, without waiting.
    """
    tree = Tree()
    share = WritableFolder(open_folder(shares.folder), tree, ingest.hints)
    views = Views(tree, reading, searches, pages, time.time())
    xattrs = ExtendedAttributes(reading, share, shares, ingest, folders, own)
    return Operations(tree, views, share, xattrs)
