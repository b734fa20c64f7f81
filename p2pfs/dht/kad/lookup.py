"""A lookup as a value that is fed answers: whom to ask next, and when it is over.

Pure; `crawl` does the asking.  There are no rounds: every answer may open the next question, and a
slow or dead node holds up nothing but its own place.

Every start is the head of a path of its own, and no node is asked by two: a liar spoils the path
that met it, and no other.  Where most starts are dead others take their place.  Of everybody who
answers the next steps are taken, however near the nodes are that others name: colluders agree with
each other, and would else crowd out the honest.
"""

from __future__ import annotations

from bisect import insort
from itertools import chain, islice
from typing import TYPE_CHECKING

from p2pfs.dht.kad.candidates import (
    ANSWERED,
    ASKED,
    DISTANCE,
    ELSEWHERE,
    FAILED,
    LATE,
    NEW,
    AskedCaps,
    Candidate,
    Liars,
    Path,
)
from p2pfs.dht.kad.caps import capped, first_within, place
from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.table import K

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from p2pfs.dht.kad.contacts import Contact, Hint

# With half of all nodes colluding 8 paths miss three times in a hundred, 24 once in two hundred.
STARTS = 24
# With fewer starts alive others are begun at: under churn all 24 nearest contacts may be dead, and
# among few that are left one liar has a good part of the lookup.
_FEWEST_ALIVE = 8
# Next steps taken from each answer: with one, half of all paths end at the first colluder; with
# three a lookup among 10,000 nodes comes near to its bound.
_STEPS = 2
# All starts at once, and a few more; what a lookup may have under way of a slow line.
ALPHA = 32
# Hops grow with the logarithm of the network: an honest one of 10,000 nodes asks 85.  Each path has
# an equal share, so that one without end cannot use up what the others need.
MAX_ASKED = 120


class Lookup:
    """The search for the k nodes closest to a key, from hints out of the own table.

    Who has answered an earlier one for it need not be asked again.
    """

    def __init__(
        self,
        key: bytes,
        own_key: bytes,
        starts: Iterable[Hint],
        is_near: Callable[[str], bool],
        k: int = K,
        answered: Iterable[Contact] = (),
    ) -> None:
        self.key = key
        self.k = k
        self.asked = 0
        self._own_key = own_key
        self._is_near = is_near
        self._candidates: dict[Hint, Candidate] = {}
        self._ordered: list[Candidate] = []
        self._caps = AskedCaps()
        self._contacts: dict[bytes, Contact] = {}
        self._liars = Liars()
        # What paths that ended at their start leave to the others; in the end, what all leave.
        self._spare = 0
        self._under_way = 0
        self._further = iter(starts)
        hints = list(islice(self._further, STARTS))
        self._paths = [Path(MAX_ASKED // len(hints)) for _ in hints]
        self._alive = 0  # starts that have not failed
        self._starts: list[Candidate] = []  # those of them that have not answered yet
        for hint, path in zip(hints, self._paths, strict=True):
            self._begin_at(hint, path)
        self._open: list[Candidate] = []  # whose next steps are still to be taken
        for contact in answered:
            self._contacts[contact.public_key] = contact
            candidate = self._add(contact.hint, Path(0))
            if candidate is not None:
                candidate.state = ANSWERED
                self._caps.count(candidate, 1)

    def todo(self) -> list[Hint]:
        """Whom to ask now, marked as asked; empty while enough are open, or at the end."""
        awaited = dict.fromkeys(each for each in self._awaited() if each.state == NEW)
        new = sorted(awaited, key=lambda each: (-each.path.left, each.distance))
        chosen = []
        for each in new[: ALPHA - self._under_way]:
            if self._can_afford(each):  # others on its path may have gone before
                self._ask(each)
                chosen.append(each.hint)
        return chosen

    def answered(self, asked: Hint, contact: Contact, named: Iterable[Hint]) -> bool:
        """The node asked proved to be `contact`, perhaps another; whether it is one that is new."""
        candidate = self._candidates[asked]
        if contact.public_key != asked.public_key:
            self._settle(candidate, FAILED)
            self._begin_at(contact.hint, candidate.path)
            self._pool_shares()
            return False
        is_new = contact.public_key not in self._contacts
        self._settle(candidate, ANSWERED if is_new else ELSEWHERE)
        self._contacts.setdefault(contact.public_key, contact)
        path, away, known = candidate.path, candidate.distance, self._candidates
        closer = []
        for hint in named:
            each = known.get(hint) or self._created(hint)
            if each is None:
                continue
            if each.state == NEW:
                each.paths.append(path)
                each.referrers.append(candidate)
            if each.distance < away:
                closer.append(each)
        candidate.closer = sorted(closer, key=DISTANCE)
        self._open.append(candidate)
        self._pool_shares()
        return is_new

    def late(self, asked: Hint) -> None:
        """It takes longer than most: others are asked beside it, its answer still counts."""
        candidate = self._candidates[asked]
        if candidate.state == ASKED:
            self._settle(candidate, LATE)
            self._pool_shares()

    def failed(self, asked: Hint) -> None:
        """No answer, or none that was worth anything."""
        candidate = self._candidates[asked]
        self._settle(candidate, FAILED)
        self._liars.failed(candidate)
        self._pool_shares()

    @property
    def is_over(self) -> bool:
        """Whether every path has ended, and the k closest of all have answered."""
        if self._is_going_on:
            return False
        hopefuls = (each for each in self._ordered if not self._is_out(each))
        return all(each.state == ANSWERED for each in first_within(hopefuls, self.k))

    def closest(self, count: int | None = None) -> list[Contact]:
        """The k, or `count`, proven nodes that answered and obey the caps, the closest first."""
        wanted = self.k if count is None else count
        return list(islice(capped(self.answerers(), self._is_near), wanted))

    def answerers(self) -> list[Contact]:
        """All proven nodes that answered, the closest first."""
        return sorted(
            self._contacts.values(), key=lambda contact: distance(contact.node_id, self.key)
        )

    def silent(self, count: int) -> list[Hint]:
        """Of the `count` closest that not only liars named, those that have not answered."""
        named = (each for each in self._ordered if not self._liars.alone_named(each))
        return [each.hint for each in islice(named, count) if each.state in (LATE, FAILED)]

    def unasked(self) -> list[Hint]:
        """Those that not only liars named, and that there was no need to ask."""
        named = (each for each in self._ordered if each.state == NEW)
        return [each.hint for each in named if not self._liars.alone_named(each)]

    def unanswered(self) -> list[Hint]:
        """Those that were late and have not answered yet."""
        return [each.hint for each in self._ordered if each.state == LATE]

    @property
    def _is_going_on(self) -> bool:
        return any(each.state in (NEW, ASKED) for each in self._awaited())

    def _pool_shares(self) -> None:
        """Once no path waits for anybody, what they have left is for the k closest of all."""
        if self._is_going_on:
            return
        for path in self._paths:
            self._spare += path.left
            path.left = 0

    def _ask(self, candidate: Candidate) -> None:
        self.asked += 1
        self._caps.count(candidate, 1)
        candidate.state = ASKED
        candidate.paths = [candidate.path]
        if candidate.path.left:
            candidate.path.left -= 1
        else:
            self._spare -= 1
        self._liars.asked(candidate)
        self._under_way += 1

    def _can_afford(self, candidate: Candidate) -> bool:
        return (self._spare > 0 or candidate.has_share) and self._caps.has_room(candidate)

    def _settle(self, candidate: Candidate, state: int) -> None:
        was = candidate.state
        self._under_way -= was == ASKED
        is_silent = state in (FAILED, LATE)
        if was == ASKED and is_silent:
            self._caps.count(candidate, -1)
        elif was == LATE and not is_silent:
            self._caps.count(candidate, 1)
        candidate.state = state
        if not candidate.referrers and is_silent:
            self._spare += candidate.path.left
            candidate.path.left = 0
        if state != LATE and candidate in self._starts:
            self._starts.remove(candidate)
            self._alive -= state == FAILED
            if self._alive < _FEWEST_ALIVE:  # others begin with what dead ones have left
                for hint in islice(self._further, STARTS - self._alive):
                    self._begin_at(hint, Path(0))

    def _begin_at(self, hint: Hint, path: Path) -> None:
        candidate = self._add(hint, path)
        if candidate is not None and candidate.state == NEW:
            self._starts.append(candidate)
            self._alive += 1

    def _add(self, hint: Hint, path: Path) -> Candidate | None:
        """The candidate of a hint at which a path begins; None for this node itself."""
        candidate = self._candidates.get(hint) or self._created(hint)
        if candidate is not None and candidate.state == NEW:
            candidate.paths.append(path)
        return candidate

    def _created(self, hint: Hint) -> Candidate | None:
        """A hint as a candidate, unless it is this node itself."""
        if hint.public_key == self._own_key:
            return None
        where = place(hint.endpoint.ip, self._is_near)
        candidate = Candidate(hint, where, distance(hint.node_id, self.key), [])
        self._candidates[hint] = candidate
        insort(self._ordered, candidate, key=DISTANCE)
        return candidate

    def _awaited(self) -> Iterator[Candidate]:
        """Whose answers the lookup needs: the starts', the next steps', and the k closest's.

        In the place of those that are late others are, so that their answers come in time.  Some
        come twice.
        """
        nearest = first_within(self._prompt(self._ordered), self.k)  # as into the result
        return chain(self._prompt(self._starts), self._next_steps(), nearest)

    def _next_steps(self) -> Iterator[Candidate]:
        is_out = self._is_out
        for referrer in tuple(self._open):
            steps = []
            is_walked = True
            # As `_prompt`, of which one for each of them would take longer than all the rest.
            for each in referrer.closer:
                state = each.state
                if state != ANSWERED:
                    if state == LATE or is_out(each):
                        continue
                    is_walked = False
                steps.append(each)
                if len(steps) == _STEPS:
                    break
            if is_walked:
                self._open.remove(referrer)  # they lead on from here
                referrer.closer = ()  # else candidates hold each other, and wait for the collector
            else:
                yield from steps

    def _prompt(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        """Those that are neither out nor late; most have answered, and are not looked at twice."""
        is_out = self._is_out
        for each in candidates:
            state = each.state
            if state == ANSWERED or (state != LATE and not is_out(each)):
                yield each

    def _is_out(self, candidate: Candidate) -> bool:
        """Dead, answered elsewhere, beyond its paths' shares, or named by liars alone."""
        state = candidate.state
        if state == ANSWERED:
            return False
        if state == FAILED or candidate.hint.public_key in self._contacts:
            return True
        if state == NEW and not self._can_afford(candidate):
            return True
        return self._liars.alone_named(candidate)
