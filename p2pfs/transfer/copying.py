"""Leaves that another content here holds: they are copied, and no peer is asked for them.

Where they lie, and reading them, is for `store.copies`; who waits for what is known to `download`.
"""

from __future__ import annotations

import logging
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

import trio

from p2pfs.content.cid import RAW
from p2pfs.content.intervals import Intervals
from p2pfs.content.walk import Leaf
from p2pfs.errors import MalformedError, NoSpaceError, P2pfsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from p2pfs.store.copies import Copies
    from p2pfs.store.object import Object
    from p2pfs.transfer.landing import Landing
    from p2pfs.transfer.run import Span

_log = logging.getLogger(__name__)

# Looked for in one go, from what is wanted on: some 0.5 ms, and then not again for long.
_SEEK_BYTES = 64 << 20
_SEEK_LEAVES = 1_024
# What a disk may take to say that nothing is here: longer than that a reader asks peers instead.
_SEEK_SECONDS = 0.1
# A share can lie on a disk that hangs, or sleeps: it is waited for once, and not leaf by leaf.
_COPY_SECONDS = 1.0
_REST_SECONDS = 30.0


class Copying:
    """Looks for each raw leaf once, unless a copy is late; all but `seek` and `copy` is immediate.

    Peers are not asked for what is being looked for, unless the last look found nothing: what
    nobody here knows the beginning of is rarely here, and is not to wait for this.
    """

    def __init__(self, held: Object, copies: Copies) -> None:
        self._object = held
        self._copies = copies
        self._sought = Intervals()
        self._reserved = Intervals()  # being looked for, or found
        self._found = Intervals()
        self._is_hopeful = True
        self._rests_until = -inf

    def left_to_peers(self, gaps: list[Span]) -> list[Span]:
        """Of what is missing, what nothing here is known to hold."""
        if not self._reserved:
            return gaps
        return [part for gap in gaps for part in self._reserved.gaps(*gap)]

    def take_unsought(self, missing: Iterable[Span]) -> list[Leaf]:
        """Leaves to `seek` now, beginning with the first of these that was not looked for yet."""
        for span in () if self._is_resting() else missing:
            for start, _ in self._sought.gaps(*span):
                leaves = list(islice(self._raw_leaves(start, start + _SEEK_BYTES), _SEEK_LEAVES))
                for leaf in leaves:
                    self._sought.add(leaf.start, leaf.stop)
                    if self._is_hopeful:
                        self._reserved.add(leaf.start, leaf.stop)
                if leaves:
                    return leaves
        return []

    async def seek(self, leaves: list[Leaf]) -> None:
        """Find out which of these another content has; those that none has are left to peers."""
        found: set[object] = set()
        try:
            with trio.move_on_after(_SEEK_SECONDS):
                cids = {leaf.cid for leaf in leaves}
                found.update(await self._copies.find(cids, self._object.cid))
        except P2pfsError as error:
            _log.warning("what is here of %s cannot be looked up: %s", self._object.cid, error)
        self._is_hopeful = bool(found)
        if self._is_resting():
            found.clear()
        for leaf in leaves:
            if leaf.cid in found:
                self._found.add(leaf.start, leaf.stop)
                self._reserved.add(leaf.start, leaf.stop)
            else:
                self._reserved.remove(leaf.start, leaf.stop)

    def next_found(self, wanted: Iterable[Span]) -> Leaf | None:
        """The first leaf of what is wanted that is to be copied."""
        for span in wanted if self._found else ():
            for found in self._found.overlaps(*span):
                for start, _ in self._object.present.gaps(*found):
                    return next(self._raw_leaves(start, start + 1), None)
        return None

    async def copy(self, leaf: Leaf, sink: Landing) -> None:
        """Copy a leaf that was found; if that is not to be, it is left to peers."""
        block = None
        try:
            with trio.move_on_after(_COPY_SECONDS) as patience:
                block = await self._copies.read(leaf.cid)
            if patience.cancelled_caught:
                self._rest()
            if block is not None and len(block) == leaf.stop - leaf.start:
                await trio.to_thread.run_sync(sink.write, leaf.start, memoryview(block))
                sink.landed(leaf.start, leaf.stop)
                return
        except NoSpaceError:
            raise
        except P2pfsError as error:
            _log.debug("%s cannot be copied: %s", leaf.cid, error)
        self._found.remove(leaf.start, leaf.stop)
        self._reserved.remove(leaf.start, leaf.stop)

    def _is_resting(self) -> bool:
        return trio.current_time() < self._rests_until

    def _rest(self) -> None:
        """Leave everything to peers for a while, and then look for it again."""
        self._rests_until = trio.current_time() + _REST_SECONDS
        self._sought, self._reserved, self._found = Intervals(), Intervals(), Intervals()

    def _raw_leaves(self, start: int, stop: int) -> Iterator[Leaf]:
        """As far as their nodes are known, but for those that their CID carries."""
        try:
            for found in self._object.leaves(start, stop):
                if not isinstance(found, Leaf):
                    return
                if found.cid.codec == RAW and not found.cid.is_identity:
                    yield found
        except MalformedError:  # a size that cannot be: whoever fetches it will say so
            return
