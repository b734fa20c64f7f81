"""From meta-infos and own shares to a directory: which contents, in which order, by which name.

Pure.  Where meta-infos come from, and how old they are, is for `searching`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from p2pfs.addresses import prefix_group
from p2pfs.dht.overlay import Provider
from p2pfs.library.names import distinct_name, is_safe, named, safe_name
from p2pfs.settingtable import DEFAULT_MAX_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from p2pfs.content.cid import Cid
    from p2pfs.content.metainfo import MetaInfo

# Many publishers can say much of one content; an extended attribute is short.
_MAX_TAGS = 64
_MILLISECONDS = 1_000


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One content as its publishers describe it; `name` is what it is published as, unsafe.

    Of others' tags those are left out that no terminal should print; they can be searched for.
    `published` is in UNIX seconds.  `providers` are other nodes; it is empty for what only this
    node publishes.
    """

    name: str
    cid: Cid
    size: int
    crc32: int
    mime: str
    tags: tuple[str, ...]
    publishers: tuple[bytes, ...]
    published: int
    providers: tuple[Provider, ...]


class Listing:
    """What is known under a tag, by the names to list.  A value: nothing changes it."""

    def __init__(self, tag: str, entries: Mapping[str, ListedFile]) -> None:
        self.tag = tag
        self.entries = entries
        self._distinct: dict[str, ListedFile] | None = None

    def find(self, name: str) -> ListedFile | None:
        """The file of that name, listed so or in the spelling `name~<short cid>.ext`."""
        found = self.entries.get(name)
        if found is not None or "~" not in name:
            return found
        if self._distinct is None:
            self._distinct = {
                distinct_name(safe_name(file.name), file.cid): file
                for file in self.entries.values()
            }
        return self._distinct.get(name)


def build_listing(
    tag: str,
    own: Iterable[ListedFile],
    metas: Collection[MetaInfo],
    kept: Mapping[str, Cid],
    now: int,
    max_entries: int = DEFAULT_MAX_ENTRIES,
) -> Listing:
    """The listing of a tag: this node's own files first, then what most others vouch for.

    Others fill it up to `max_entries`.
    `metas` holds the latest of each publisher and content, also those withdrawn and expired, which
    are not listed; while an expired one is known its name in `kept` stays with its content.
    """
    files = {file.cid: file for file in own}
    live: defaultdict[Cid, list[MetaInfo]] = defaultdict(list)
    for meta in metas:
        if not meta.withdrawn and meta.expires > now:
            live[meta.cid].append(meta)
    others = sorted(live.items(), key=lambda item: _rank(item[1]))
    for cid, told in others:
        if cid in files:
            files[cid] = _joined(files[cid], _merged(told))
        elif len(files) < max_entries:
            files[cid] = _merged(told)
    remembered = {meta.cid for meta in metas if not meta.withdrawn} | files.keys()
    holding = {name: cid for name, cid in kept.items() if cid in remembered}
    names = named(((file.cid, file.name) for file in files.values()), holding)
    return Listing(tag, {name: files[cid] for name, cid in names.items()})


def plain_names(listing: Listing) -> dict[str, Cid]:
    """The plain names in a listing, which are to stay with their contents."""
    return {
        name: file.cid for name, file in listing.entries.items() if name == safe_name(file.name)
    }


def _rank(told: list[MetaInfo]) -> tuple[int, int, bytes]:
    """Distinct networks first, for publishers are free; then age; the CID breaks ties."""
    return (-len(_networks(told)), min(meta.seq for meta in told), told[0].cid.multihash)


def _networks(told: Iterable[MetaInfo]) -> set[str]:
    return {prefix_group(meta.at[0].ip)[0] for meta in told if meta.at}


def _merged(told: list[MetaInfo]) -> ListedFile:
    """What most publishers say of one content; of equally many, the earliest."""
    told = sorted(told, key=lambda meta: (meta.seq, meta.publisher))
    (size, crc32), _ = Counter((meta.size, meta.crc32) for meta in told).most_common(1)[0]
    first = next(meta for meta in told if (meta.size, meta.crc32) == (size, crc32))
    tags = dict.fromkeys(tag for meta in told for tag in meta.tags if is_safe(tag))
    return ListedFile(
        name=first.name,
        cid=first.cid,
        size=size,
        crc32=crc32,
        mime=first.mime,
        tags=tuple(sorted(list(tags)[:_MAX_TAGS])),
        publishers=tuple(meta.publisher for meta in told),
        published=told[0].seq // _MILLISECONDS,
        providers=tuple(Provider(meta.publisher, meta.at) for meta in told if meta.at),
    )


def _distinct(providers: Iterable[Provider]) -> tuple[Provider, ...]:
    """One a node; of this node's own the first, which needs no address."""
    found: dict[bytes, Provider] = {}
    for provider in providers:
        found.setdefault(provider.public_key, provider)
    return tuple(found.values())


def _joined(own: ListedFile, others: ListedFile) -> ListedFile:
    """Own files are known at first hand: others add only that they have it too."""
    return replace(
        own,
        publishers=tuple(dict.fromkeys(own.publishers + others.publishers)),
        providers=_distinct(own.providers + others.providers),
        published=min(own.published, others.published),
    )
