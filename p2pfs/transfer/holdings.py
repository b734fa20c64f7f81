"""What a download asks about its object: what is missing or unchecked, where leaves end.

Immediate.  The object itself, its bytes and its hashing belong to `store.object`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.content.walk import Leaf
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2pfs.content.walk import Gap
    from p2pfs.store.object import Object
    from p2pfs.transfer.run import Span

# What is hashed from disk at a time: a blocked reader waits for one such piece before its own.
_CHECK_BYTES = 4 * 1024 * 1024
_USUAL_LEAF_BYTES = 256 * 1024


class Holdings:
    """One object, as seen by whoever has to fill it.

    `left_to_peers` is told what is missing, and says what of it nothing else here may hold.
    """

    def __init__(self, held: Object, left_to_peers: Callable[[list[Span]], list[Span]]) -> None:
        self._object = held
        self._left_to_peers = left_to_peers

    def missing(self, start: int, stop: int) -> list[Span]:
        """What has to come from a peer: all but what is on disk, even if that may prove wrong."""
        return self._left_to_peers(self._object.present.gaps(start, stop))

    def missing_bytes(self, spans: Iterable[Span]) -> int:
        return sum(stop - start for span in spans for start, stop in self.missing(*span))

    def leaf_at(self, position: int) -> Span:
        """The leaf at a position, by the nodes that are known; else on the usual grid."""
        found = self._found_at(position)
        start, stop = (0, self._object.size) if found is None else (found.start, found.stop)
        if isinstance(found, Leaf):
            return start, stop
        start = position - (position - start) % _USUAL_LEAF_BYTES
        return start, min(start + _USUAL_LEAF_BYTES, stop)

    def next_unchecked(self, wanted: Iterable[Span]) -> Span | None:
        """The first of what is wanted that lies on disk and was not hashed yet."""
        held = self._object
        for span in wanted:
            for gap in held.checked.gaps(*span):
                for start, stop in held.present.overlaps(*gap):
                    return start, min(stop, start + _CHECK_BYTES)
        return None

    def _found_at(self, position: int) -> Leaf | Gap | None:
        try:
            return next(self._object.leaves(position, position + 1), None)
        except MalformedError:  # a size that cannot be: whoever fetches it will say so
            return None
