"""Which bytes of one object nobody may take away now, and which are just being taken away.

Leases are taken before it is looked whether something is present.  Who reads, serves or brings
bytes has a lease on them; a hole is punched only where there is none, and whoever writes there
afterwards waits for it.
"""

from __future__ import annotations

from threading import Condition
from typing import TYPE_CHECKING, Self

from p2pfs.content.intervals import Intervals

if TYPE_CHECKING:
    from collections.abc import Iterable

    Span = tuple[int, int]


class Lease:
    """Some bytes, until this is left."""

    def __init__(self, leases: Leases, start: int, stop: int) -> None:
        self._leases = leases
        self.spans = Intervals([(start, stop)])

    def widen(self, start: int, stop: int) -> None:
        """These bytes too; from any thread."""
        with self._leases.changing:
            self.spans.add(start, stop)

    def __enter__(self) -> Self:
        with self._leases.changing:
            self._leases.held.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        with self._leases.changing:
            self._leases.held.discard(self)


class Leases:
    """Those of one object; safe in all threads."""

    def __init__(self) -> None:
        self.changing = Condition()
        self.held: set[Lease] = set()
        self._holes = Intervals()

    def spans(self) -> Intervals:
        """All that is leased."""
        with self.changing:
            return Intervals(span for lease in self.held for span in lease.spans)

    def begin_hole(self, start: int, stop: int) -> bool:
        """Whether a hole may be punched here, which `end_holes` has to say the end of."""
        with self.changing:
            if start >= stop or any(lease.spans.overlaps(start, stop) for lease in self.held):
                return False
            self._holes.add(start, stop)
            return True

    def end_holes(self, holes: Iterable[Span]) -> None:
        with self.changing:
            for hole in holes:
                self._holes.remove(*hole)
            self.changing.notify_all()

    def wait_no_hole(self, start: int, stop: int) -> None:
        """Until nothing is being punched here; blocking, for who has a lease on it."""
        with self.changing:
            self.changing.wait_for(lambda: not self._holes.overlaps(start, stop))
