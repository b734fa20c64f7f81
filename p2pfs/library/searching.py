"""Listings: what is known under a tag at once, and looking for more of it.

How entries are merged, ranked and named is for `listings`; what was met is kept by `metas`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import SingleFlight, all_of
from p2pfs.content.tags import WORD, name_tags, query_tags, search_tags, search_text
from p2pfs.errors import P2pfsError
from p2pfs.library.listings import Listing, build_listing, plain_names
from p2pfs.library.names import is_safe
from p2pfs.settingtable import DEFAULT_MAX_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from p2pfs.content.metainfo import MetaInfo
    from p2pfs.dht.overlay import Overlay
    from p2pfs.library.listednames import ListedNames
    from p2pfs.library.metas import Key, Metas
    from p2pfs.library.ownfiles import OwnFiles

_log = logging.getLogger(__name__)

# `ls -l` asks several times within this.
_FRESH_SECONDS = 2.0
# A tag of many thousand files takes as many seconds as others take tenths: who lists it again and
# again shall not have it looked for more than half of the time.
_MOST_FRESH_SECONDS = 20.0
# A listing that is known need not wait for a network that did not answer last time.
_DOUBTFUL_PATIENCE_SECONDS = 0.5
# Entries expire without anybody saying so.
_REBUILD_SECONDS = 30.0
_FORGET_EVERY_SECONDS = 3_600.0
_MAX_LOOKED_UP = 1_000
# Each costs a lookup.  What has all parts is found by any of them, by the longest word best.
_MAX_PARTS_LOOKED_UP = 4
# As many as a person can look over.
_MAX_RECENT = 100
AND = "+"
_WORD_PREFIX = f"{WORD}:"


class Searches:
    """The listings of all tags; searches run in `nursery`, which outlives each asker."""

    def __init__(
        self,
        overlay: Overlay,
        metas: Metas,
        own: OwnFiles,
        names: ListedNames,
        nursery: trio.Nursery,
        clock: Callable[[], float] = time.time,
        max_entries: int = DEFAULT_MAX_ENTRIES,
    ) -> None:
        self.max_entries = max_entries
        """Files in one listing, and tags in the list of them, at most."""
        self._overlay = overlay
        self._metas = metas
        self._own = own
        self._names = names
        self._clock = clock
        self._flights: SingleFlight[str, None] = SingleFlight(nursery)
        self._built: dict[str, _Built] = {}
        self._fresh_until: dict[str, float] = {}
        self._recent: dict[str, None] = {}
        self._recent_tags: dict[str, None] = {}
        self._network_answers: bool | None = None
        self._forgot_at = -_FORGET_EVERY_SECONDS

    def listing(self, tag: str) -> Listing:
        """What is known now, own files first; `tag` in normal form, or several joined by `+`."""
        tags = tuple(tag.split(AND))
        version = (self._own.version, *map(self._metas.version, _looked_up(tags)))
        built, now = self._built.get(tag), trio.current_time()
        if built is None or built.version != version or now > built.at + _REBUILD_SECONDS:
            built = self._built[tag] = _Built(self._build(tag, tags), version, now)
            if len(self._built) > _MAX_LOOKED_UP:
                del self._built[next(iter(self._built))]
        return built.listing

    def is_fresh(self, tag: str) -> bool:
        """Whether a search under this tag ended less than 2 s ago, or less than it took."""
        return trio.current_time() < self._fresh_until.get(tag, 0.0)

    async def refresh(self, tag: str) -> None:
        """Look in the network unless that was just done; the search goes on behind a deadline.

        Never fails: what can be listed then is what is known.  Where nothing is known, always
        looks; where something is and the network is silent, waits only for a moment.
        """
        if self.is_fresh(tag) and self.listing(tag).entries:
            return
        flight = self._flights.start(tag, partial(self._search_all, tag))
        with trio.move_on_after(self._patience(tag)):
            await flight.wait_result()

    def known_tags(self) -> list[str]:
        """Tags of own files, those looked up lately, and all that searches have met.

        Without what was met but has expired.
        """
        found = dict.fromkeys((*self._own.tags(), *reversed(self._recent_tags)))
        found |= dict.fromkeys(self._metas.known_tags(int(self._clock()), self.max_entries))
        shown = [tag for tag in found if not tag.startswith(_WORD_PREFIX) and is_safe(tag)]
        return shown[: self.max_entries]

    def note_search(self, tag: str) -> None:
        """Somebody has looked at what a search found."""
        _note(self._recent, search_text(tag.split(AND)))

    def note_tag(self, tag: str) -> None:
        """Somebody has looked at what is under a tag, or under several joined by `+`."""
        for each in tag.split(AND):
            _note(self._recent_tags, each)

    def recent_searches(self) -> list[str]:
        """What was searched for in this run, the latest first."""
        return [text for text in reversed(self._recent) if is_safe(text)]

    def _build(self, tag: str, tags: tuple[str, ...]) -> Listing:
        own, kept = self._own.under(tags), self._names.under(tag)
        metas = self._metas_with_all(tags)
        now = int(self._clock())
        listing = build_listing(tag, own, metas, kept, now, self.max_entries)
        self._names.keep(tag, plain_names(listing))
        return listing

    def _metas_with_all(self, tags: tuple[str, ...]) -> list[MetaInfo]:
        """What others published with all of these, found under any: not every word is indexed."""
        under = {tag: self._metas.under(tag) for tag in _looked_up(tags)}
        newest: dict[Key, MetaInfo] = {}
        for metas in under.values():
            for key, meta in metas.items():
                if key not in newest or newest[key].seq < meta.seq:
                    newest[key] = meta
        found = []
        for key, meta in newest.items():
            unsure = [tag for tag in tags if tag not in under or key not in under[tag]]
            if meta.publisher != self._own.publisher and _has_all(meta, unsure):
                found.append(meta)
        return found

    def _patience(self, tag: str) -> float:
        if self._network_answers is False or (
            self._network_answers is None and self.listing(tag).entries
        ):
            return _DOUBTFUL_PATIENCE_SECONDS
        return float("inf")

    async def _search_all(self, tag: str) -> None:
        started = trio.current_time()
        try:
            await all_of(partial(self._search, part) for part in _looked_up(tag.split(AND)))
        except P2pfsError as error:
            _log.info("searching %r: %s", tag, error)
            self._network_answers = False
        else:
            self._network_answers = True
            self._note_refreshed(tag, trio.current_time() - started)
        await self._keep_found()

    async def _search(self, tag: str) -> None:
        await self._metas.load(tag)
        await self._overlay.search(tag, self._found)

    def _found(self, meta: MetaInfo) -> None:
        self._network_answers = True  # long before the end, if much is under the tag
        self._metas.add(meta)

    async def _keep_found(self) -> None:
        try:
            await self._metas.save()
            await self._names.save()
            if trio.current_time() >= self._forgot_at + _FORGET_EVERY_SECONDS:
                self._forgot_at = trio.current_time()
                await self._metas.forget_old(int(self._clock()))
        except P2pfsError as error:
            _log.warning("what was found cannot be kept: %s", error)

    def _note_refreshed(self, tag: str, took: float) -> None:
        self._fresh_until.pop(tag, None)
        fresh = min(max(took, _FRESH_SECONDS), _MOST_FRESH_SECONDS)
        self._fresh_until[tag] = trio.current_time() + fresh
        if len(self._fresh_until) > _MAX_LOOKED_UP:
            oldest = next(iter(self._fresh_until))
            del self._fresh_until[oldest]
            self._built.pop(oldest, None)


@dataclass(frozen=True, slots=True)
class _Built:
    listing: Listing
    version: tuple[int, ...]
    at: float


def tag_key(text: str) -> str:
    """The `tag` to list for what the user calls it; raises MalformedError for what is none."""
    return AND.join(query_tags(text))


def search_key(words: str, tags: Sequence[str] = ()) -> str:
    """The `tag` to list for words, and tags in any spelling; raises MalformedError for none."""
    named = (tag for text in tags for tag in query_tags(text))
    return AND.join(dict.fromkeys((*(search_tags(words) if words else ()), *named)))


def _note(recent: dict[str, None], text: str) -> None:
    """Put it last, and forget the first of too many."""
    recent.pop(text, None)
    recent[text] = None
    if len(recent) > _MAX_RECENT:
        del recent[next(iter(recent))]


def _looked_up(tags: Sequence[str]) -> Sequence[str]:
    return tags[:_MAX_PARTS_LOOKED_UP]


def _has_all(meta: MetaInfo, tags: Collection[str]) -> bool:
    if not tags:
        return True
    if any(tag.startswith(_WORD_PREFIX) for tag in tags):
        return set(tags) <= {*meta.tags, *name_tags(meta.name, meta.title)}
    return set(tags) <= set(meta.tags)
