"""Who is told that the files of a content have changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.content.cid import Cid
    from p2pfs.library.announcing import Announcing
    from p2pfs.library.ownfiles import OwnFiles


@dataclass
class Told:
    """`announcing` comes when the node has its key; it begins with a look at everything."""

    own_files: OwnFiles
    announcing: Announcing | None = None

    def changed(self, cid: Cid) -> None:
        """Other files than before have this content, or the same otherwise described."""
        self.own_files.changed(cid)
        if self.announcing is not None:
            self.announcing.changed(cid)
