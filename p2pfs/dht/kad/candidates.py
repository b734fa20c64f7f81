"""Whom a lookup may ask: what is known of each, and on whose path it is.  Pure.

What follows from that for the others is `lookup`'s.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.dht.kad.caps import Place
    from p2pfs.dht.kad.contacts import Hint

# What became of a candidate; of a node at two addresses one has ANSWERED, the other ELSEWHERE.
# Numbers, since it is asked hundreds of times an answer, and an enum looks its members up anew each
# time.
NEW, ASKED, LATE, ANSWERED, ELSEWHERE, FAILED = range(6)
# Nobody else is asked of those a referrer names whose hints are mostly dead, judged after so many.
_JUDGED_AFTER = 4

# A lookup that trusts one network is that network's.
_MOST_NARROW = 3
# Moved nodes leave old addresses behind in others' tables; more than this is somebody's game.
_MOST_ADDRESSES_A_KEY = 3

DISTANCE = attrgetter("distance")
_LEFT = attrgetter("left")


@dataclass(slots=True, eq=False)
class Path:
    """What began at one start; `left` is how many may still be asked on it."""

    left: int


@dataclass(slots=True, eq=False)
class Candidate:
    """A hint, `distance` away from the key."""

    hint: Hint
    place: Place
    distance: int
    # Those it could be on; once it was asked, the one that it is on.
    paths: list[Path]
    referrers: list[Candidate] = field(default_factory=list)
    state: int = NEW
    # Of the nodes that it named: those on the way to the key, and how it went with all.
    closer: Sequence[Candidate] = ()
    tried: int = 0
    dead: int = 0

    @property
    def path(self) -> Path:
        """The one that can best afford it."""
        return max(self.paths, key=_LEFT)

    @property
    def has_share(self) -> bool:
        """Whether any of them can."""
        return any(map(_LEFT, self.paths))

    @property
    def is_liar(self) -> bool:
        """Whether most of those that it named, and that were asked, are dead."""
        return self.tried >= _JUDGED_AFTER and self.dead * 2 > self.tried


class Liars:
    """Those who mostly named dead ones; whom they alone named is not asked."""

    def __init__(self) -> None:
        self._found: set[Candidate] = set()

    def asked(self, candidate: Candidate) -> None:
        """It may turn out to be alive."""
        for referrer in candidate.referrers:
            referrer.tried += 1
            self._judge(referrer)

    def failed(self, candidate: Candidate) -> None:
        """It was asked, and did not."""
        for referrer in candidate.referrers:
            referrer.dead += 1
            self._judge(referrer)

    def alone_named(self, candidate: Candidate) -> bool:
        """Whether nobody else names it, nor does a path begin there."""
        return bool(candidate.referrers) and self._found.issuperset(candidate.referrers)

    def _judge(self, referrer: Candidate) -> None:
        if referrer.is_liar:
            self._found.add(referrer)
        else:
            self._found.discard(referrer)


class AskedCaps:
    """How many addresses of a key, and nodes of a /24, were asked and are not known to be silent.

    Hints do not count: who names the dead would take the places of those that he wants nobody to
    ask.
    """

    def __init__(self) -> None:
        self._addresses: Counter[bytes] = Counter()
        self._narrow: Counter[str] = Counter()

    def has_room(self, candidate: Candidate) -> bool:
        """Whether one more may be asked."""
        where = candidate.place
        if self._addresses[candidate.hint.public_key] >= _MOST_ADDRESSES_A_KEY:
            return False
        return where.is_near or self._narrow[where.narrow] < _MOST_NARROW

    def count(self, candidate: Candidate, change: int) -> None:
        """One more, or one less."""
        self._addresses[candidate.hint.public_key] += change
        self._narrow[candidate.place.narrow] += change
