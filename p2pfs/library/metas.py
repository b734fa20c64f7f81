"""The meta-infos this node has met, by tag: the newest of each publisher and content.

In memory for the tags in use, in the catalogue for all.  Looking for more is for `searching`;
what is listed of them, for `listings`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.content.metainfo import MetaInfo, parse_kept_meta
from p2pfs.errors import MalformedError
from p2pfs.settingtable import DEFAULT_MAX_ENTRIES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from p2pfs.content.cid import Cid
    from p2pfs.network import Network
    from p2pfs.store.catalog import Catalog

_log = logging.getLogger(__name__)

# About 0.13 ms each on the loop; the rest is read in a thread.
_LOADED_AT_ONCE = 200
# Of a tag beyond a listing's worth: some are withdrawn or expired.
_SPARE_A_TAG = 2_000
# At about 3 KB each, 100 MB for the tags that are looked at now.
_MAX_IN_MEMORY = 32_000
# Of tags without a result too, which cost a kilobyte each, and a look at each new meta-info.
_MAX_TAGS_IN_MEMORY = 4_000
# Long enough for a publisher to come back from a week away to its names.
_KEPT_AFTER_EXPIRY_SECONDS = 7 * 24 * 3_600
# With 1 KiB each and their tags, about half a gigabyte on disk.
_MAX_KEPT = 200_000

Key = tuple[bytes, bytes]

_UNDER_TAG = (
    "SELECT encoded FROM tagged JOIN metainfos USING (publisher, cid) WHERE tag = ?"
    " ORDER BY expires DESC LIMIT ?"
)
# From one tag to the next in the index; those from "word:" up to "word;" are words.
_KNOWN_TAGS = """
WITH RECURSIVE step(tag) AS (
    SELECT min(tag) FROM tagged
    UNION ALL
    SELECT (SELECT min(next.tag) FROM tagged AS next WHERE next.tag >
        CASE WHEN step.tag >= 'word:' AND step.tag < 'word;' THEN 'word;' ELSE step.tag END)
    FROM step WHERE step.tag IS NOT NULL
)
SELECT tag FROM step WHERE tag IS NOT NULL AND NOT (tag >= 'word:' AND tag < 'word;') AND EXISTS (
    SELECT 1 FROM tagged JOIN metainfos USING (publisher, cid)
    WHERE tagged.tag = step.tag AND expires > ?
) LIMIT ?
"""

# The next publisher is found by the primary key, as in `_KNOWN_TAGS` the next tag.
_OF_CONTENT = """
WITH RECURSIVE who (publisher) AS (
    SELECT min(publisher) FROM metainfos
    UNION ALL
    SELECT (SELECT min(publisher) FROM metainfos WHERE publisher > who.publisher)
    FROM who WHERE publisher IS NOT NULL
)
SELECT encoded FROM who JOIN metainfos USING (publisher) WHERE cid = ?
"""


class _Tagged:
    """What is in memory of one tag; `version` changes whenever it does."""

    def __init__(self) -> None:
        self.metas: dict[Key, MetaInfo] = {}
        self.version = 0
        self.complete = False


class Metas:
    """One owner for both directions: what searches bring, and what this node publishes."""

    def __init__(
        self, catalog: Catalog, network: Network, max_entries: int = DEFAULT_MAX_ENTRIES
    ) -> None:
        self._catalog = catalog
        self._network = network
        self._most = max_entries + _SPARE_A_TAG
        self._tags: OrderedDict[str, _Tagged] = OrderedDict()
        self._unsaved: dict[Key, MetaInfo] = {}

    def under(self, tag: str) -> Mapping[Key, MetaInfo]:
        """What is known under a tag, withdrawn and expired ones included; never waits long."""
        return self._tagged(tag).metas

    def version(self, tag: str) -> int:
        """A number that is another one when `under` tells something else."""
        return self._tagged(tag).version

    async def load(self, tag: str) -> None:
        """Have all of a tag in memory that the catalogue has."""
        tagged = self._tagged(tag)
        if tagged.complete:
            return
        rows = self._catalog.rows(_UNDER_TAG, tag, self._most)
        metas = await trio.to_thread.run_sync(self._parsed, rows)
        tagged.complete = True
        for meta in metas:
            self._keep_newest(tagged, meta)

    def add(self, meta: MetaInfo) -> None:
        """Take in a verified meta-info unless a newer one is known; `save` keeps it."""
        key = meta.publisher, meta.cid.v1.encode()
        for tag, tagged in self._tags.items():
            if meta.is_under(tag):
                self._keep_newest(tagged, meta)
            elif (known := tagged.metas.get(key)) is not None and known.seq < meta.seq:
                del tagged.metas[key]
                tagged.version += 1
        unsaved = self._unsaved.get(key)
        if unsaved is None or unsaved.seq < meta.seq:
            self._unsaved[key] = meta

    async def save(self) -> None:
        """Keep in the catalogue what was added since the last time; raises CatalogError."""
        if not self._unsaved:
            return
        metas, self._unsaved = list(self._unsaved.values()), {}
        await self._catalog.write(partial(_write, metas))

    async def forget_old(self, now: int) -> None:
        """Drop from the catalogue what expired long ago, or is too much."""
        await self._catalog.write(partial(_forget_old, now - _KEPT_AFTER_EXPIRY_SECONDS))

    async def published_by(self, publisher: bytes) -> list[MetaInfo]:
        """What is kept of one publisher, the newest of each content, withdrawals included."""
        rows = self._catalog.rows("SELECT encoded FROM metainfos WHERE publisher = ?", publisher)
        return await trio.to_thread.run_sync(self._parsed, rows)

    def crc32s_of(self, cid: Cid) -> set[int]:
        """The CRC-32 that each publisher of a content gives for it."""
        rows = self._catalog.rows("SELECT encoded FROM metainfos WHERE cid = ?", cid.v1.encode())
        found = {meta.crc32 for meta in self._parsed(rows)}
        return found | {meta.crc32 for meta in self._unsaved.values() if meta.cid.v1 == cid.v1}

    def of(self, cid: Cid) -> list[MetaInfo]:
        """The newest of each publisher of one content; costs a step a publisher, not one a file."""
        key = cid.v1.encode()
        metas = self._parsed(self._catalog.rows(_OF_CONTENT, key))
        newest = {meta.publisher: meta for meta in metas}
        for (publisher, content), meta in self._unsaved.items():
            if content == key:
                newest[publisher] = meta
        return list(newest.values())

    def known_tags(self, now: int, limit: int) -> list[str]:
        """Tags of what has not expired, words left out; costs a step a tag, not one a file."""
        return [tag for (tag,) in self._catalog.rows(_KNOWN_TAGS, now, limit)]

    def _tagged(self, tag: str) -> _Tagged:
        tagged = self._tags.get(tag)
        if tagged is None:
            tagged = self._tags[tag] = _Tagged()
            rows = self._catalog.rows(_UNDER_TAG, tag, _LOADED_AT_ONCE)
            for meta in self._parsed(rows):
                self._keep_newest(tagged, meta)
            tagged.complete = len(rows) < _LOADED_AT_ONCE
            for meta in self._unsaved.values():
                if meta.is_under(tag):
                    self._keep_newest(tagged, meta)
            self._evict()
        self._tags.move_to_end(tag)
        return tagged

    def _keep_newest(self, tagged: _Tagged, meta: MetaInfo) -> None:
        key = meta.publisher, meta.cid.v1.encode()
        known = tagged.metas.get(key)
        if known is None and len(tagged.metas) >= self._most:
            return
        if known is None or known.seq < meta.seq:
            tagged.metas[key] = meta
            tagged.version += 1

    def _evict(self) -> None:
        held = sum(len(tagged.metas) for tagged in self._tags.values())
        while (held > _MAX_IN_MEMORY and len(self._tags) > 1) or (
            len(self._tags) > _MAX_TAGS_IN_MEMORY
        ):
            _tag, tagged = self._tags.popitem(last=False)
            held -= len(tagged.metas)

    def _parsed(self, rows: Iterable[tuple[bytes]]) -> list[MetaInfo]:
        metas, wrong = [], 0
        for (encoded,) in rows:
            try:
                metas.append(parse_kept_meta(encoded, self._network))
            except MalformedError:
                wrong += 1
        if wrong:
            _log.info("%d kept meta-infos are of another network, or damaged", wrong)
        return metas


def _write(metas: list[MetaInfo], connection: sqlite3.Connection) -> None:
    for meta in metas:
        key = meta.publisher, meta.cid.v1.encode()
        changed = connection.execute(
            "INSERT INTO metainfos (publisher, cid, seq, expires, encoded) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET seq = excluded.seq, expires = excluded.expires,"
            " encoded = excluded.encoded WHERE excluded.seq > seq",
            (*key, meta.seq, meta.expires, meta.encoded),
        ).rowcount
        if not changed:
            continue
        connection.execute("DELETE FROM tagged WHERE publisher = ? AND cid = ?", key)
        connection.executemany(
            "INSERT INTO tagged (tag, publisher, cid) VALUES (?, ?, ?)",
            [(tag, *key) for tag in meta.index_tags],
        )


def _forget_old(expired_before: int, connection: sqlite3.Connection) -> None:
    connection.execute(
        "DELETE FROM metainfos WHERE expires < ? OR rowid IN"
        " (SELECT rowid FROM metainfos ORDER BY expires DESC LIMIT -1 OFFSET ?)",
        (expired_before, _MAX_KEPT),
    )
    connection.execute(
        "DELETE FROM tagged WHERE NOT EXISTS (SELECT 1 FROM metainfos"
        " WHERE metainfos.publisher = tagged.publisher AND metainfos.cid = tagged.cid)"
    )
    connection.execute(
        "DELETE FROM names WHERE NOT EXISTS"
        " (SELECT 1 FROM metainfos WHERE metainfos.cid = names.cid)"
        " AND NOT EXISTS (SELECT 1 FROM roots JOIN shares ON root = id WHERE roots.cid = names.cid)"
    )
