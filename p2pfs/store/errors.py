"""What can go wrong below: the catalogue, the cache, a share that is another file by now."""

from __future__ import annotations

import errno as _errno

from p2pfs.errors import NotFoundError, P2pfsError


class CatalogError(P2pfsError):
    """The catalogue cannot be read or written."""

    advice = "restart the node: a damaged catalogue is set aside and built anew"


class CacheError(P2pfsError):
    """A file of the cache cannot be read or written."""

    advice = "check the disk; whatever is in the cache may be deleted"


class ShareChangedError(NotFoundError):
    """A published file is gone, or not the file any more that was hashed."""

    errno = _errno.ESTALE

    def __init__(self, path: bytes) -> None:
        super().__init__(f"{path!r} is not the file that was published")
        self.path = path
