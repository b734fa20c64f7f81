"""Every own file, wherever it lies: a relative path is one of the share folder.

Who follows the others, which the user published where they lie, is found by `publishing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.library.ingest import Ingest
    from p2pfs.library.publishing import Publishing
    from p2pfs.store.share import ShareState


@dataclass(frozen=True, slots=True)
class Followed:
    """Paths are as the catalogue has them."""

    share_folder: Ingest
    publishing: Publishing

    def state(self, path: bytes) -> tuple[ShareState, str]:
        """How far a file is, and why it is not further."""
        follower = self.publishing if path.startswith(b"/") else self.share_folder
        return follower.state(path)

    def batch_comes_in(self) -> bool:
        """Whether many files in one folder are yet to be looked at or hashed."""
        return self.share_folder.batch_comes_in() or self.publishing.batch_comes_in()

    def changed(self, path: bytes) -> None:
        """A file is not what it was when it was hashed."""
        if path.startswith(b"/"):
            self.publishing.changed(path)
        else:
            self.share_folder.hints.doubted(path)
