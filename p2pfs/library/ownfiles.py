"""The files this node shares as entries of listings, by tag; also without any network.

What they are called and tagged is decided by `descriptions`; others' files are in `metas`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from p2pfs.dht.overlay import Provider
from p2pfs.library.descriptions import described, own_tags
from p2pfs.library.listings import ListedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.identity import OwnKey
    from p2pfs.store.share import Share
    from p2pfs.store.shares import Shares

_MILLISECONDS = 1_000
_NANOSECONDS = 1_000_000_000


class OwnFiles:
    """Follows the shares content by content; `version` is another whenever anything is."""

    def __init__(self, shares: Shares, own: OwnKey) -> None:
        self._shares = shares
        self._own = own
        self.version = 0
        self._files: dict[Cid, ListedFile] = {}
        self._index: dict[Cid, tuple[str, ...]] = {}
        self._by_tag: defaultdict[str, set[Cid]] = defaultdict(set)

    @property
    def publisher(self) -> bytes:
        """The public key of the node; empty while it is being made."""
        return self._own.public_key

    def load(self) -> None:
        """Take in all shares: at the start, and again when the node has its key."""
        by_cid: defaultdict[Cid, list[Share]] = defaultdict(list)
        for share in self._shares.all():
            if share.cid is not None:
                by_cid[share.cid].append(share)
        for cid, shares in by_cid.items():
            self._drop(cid)
            self._put(cid, shares)

    def changed(self, cid: Cid) -> None:
        """Other files than before have this content, or the same otherwise described."""
        self._drop(cid)
        self._put(cid, self._shares.by_cid(cid))

    def of(self, cid: Cid) -> ListedFile | None:
        """An own file by its content."""
        return self._files.get(cid)

    def under(self, tags: Iterable[str]) -> list[ListedFile]:
        """The files under all of these tags, the earliest first."""
        sets = [self._by_tag.get(tag, set()) for tag in tags]
        files = [self._files[cid] for cid in set.intersection(*sets)]
        return sorted(files, key=lambda file: (file.published, file.cid.multihash))

    def tags(self) -> list[str]:
        """Every tag of an own file, words included."""
        return sorted(self._by_tag)

    def _put(self, cid: Cid, shares: Sequence[Share]) -> None:
        self.version += 1
        description = described(shares)
        if description is None:
            return
        self._files[cid] = ListedFile(
            name=description.name,
            cid=cid,
            size=description.size,
            crc32=description.crc32,
            mime=description.mime,
            tags=tuple(sorted(description.tags)),
            publishers=(self._own.public_key,),
            published=min(map(_published, shares)),
            providers=(Provider(self._own.public_key, ()),),
        )
        self._index[cid] = own_tags(description)
        for tag in self._index[cid]:
            self._by_tag[tag].add(cid)

    def _drop(self, cid: Cid) -> None:
        self._files.pop(cid, None)
        for tag in self._index.pop(cid, ()):
            self._by_tag[tag].discard(cid)
            if not self._by_tag[tag]:
                del self._by_tag[tag]


def _published(share: Share) -> int:
    """When the network was told, or, before that, when the file was written; UNIX seconds."""
    return share.seq // _MILLISECONDS or share.mtime_ns // _NANOSECONDS
