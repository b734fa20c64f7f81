"""A lookup as a value that is fed answers: whom to ask next, and when it is over.

Pure; `crawl` does the asking.  There are no rounds: every answer may open the next question, and a
slow or dead node holds up nothing but its own place.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from p2pfs.addresses import prefix_group
from p2pfs.dht.kad.contacts import Contact, Hint, distance
from p2pfs.dht.kad.table import K

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Enough that one dead node among the first does not stop the others from being asked.
ALPHA = 6
# Hops grow with the logarithm of the network: twenty times what an honest one needs.
MAX_ASKED = 120
# A lookup that trusts one network is that network's.
_MOST_NARROW = 3
# Moved nodes leave old addresses behind in others' tables; more than this is somebody's game.
_MOST_ADDRESSES_A_KEY = 3
# Of a referrer whose hints are mostly dead no more are asked, judged after so many.
_JUDGED_AFTER = 6
# A liar can hand out hints without end; what is far beyond k never gets asked.
_MOST_CANDIDATES = 400


class _State(Enum):
    NEW = 0
    ASKED = 1
    ANSWERED = 2
    FAILED = 3


@dataclass(slots=True)
class _Candidate:
    hint: Hint
    distance: int
    referrer: bytes | None
    state: _State = _State.NEW


class Lookup:
    """The search for the k nodes closest to a key."""

    def __init__(
        self, key: bytes, own_key: bytes, is_near: Callable[[str], bool], k: int = K
    ) -> None:
        self.key = key
        self._k = k
        self._own_key = own_key
        self._is_near = is_near
        self._candidates: list[_Candidate] = []
        self._seen: set[Hint] = set()
        self._addresses: Counter[bytes] = Counter()
        self._narrow: Counter[str] = Counter()
        self._contacts: dict[bytes, Contact] = {}
        self._dead: Counter[bytes] = Counter()
        self._tried: Counter[bytes] = Counter()
        self._asked = 0

    def add(self, hints: Iterable[Hint], referrer: bytes | None = None) -> None:
        """Candidates, from the own table or from the answer of the node with key `referrer`."""
        for hint in hints:
            if hint in self._seen or not self._is_welcome(hint):
                continue
            self._seen.add(hint)
            self._addresses[hint.public_key] += 1
            self._narrow[prefix_group(hint.endpoint.ip)[1]] += 1
            away = distance(hint.node_id, self.key)
            self._candidates.append(_Candidate(hint, away, referrer))
        self._candidates.sort(key=lambda candidate: candidate.distance)

    def todo(self) -> list[Hint]:
        """Whom to ask now, marked as asked; empty while enough are open, or at the end."""
        asking = sum(candidate.state is _State.ASKED for candidate in self._candidates)
        wanted = min(ALPHA - asking, MAX_ASKED - self._asked)
        chosen = [each for each in self._nearest_hopefuls() if each.state is _State.NEW]
        chosen = chosen[: max(0, wanted)]
        for candidate in chosen:
            candidate.state = _State.ASKED
            self._asked += 1
            if candidate.referrer is not None:
                self._tried[candidate.referrer] += 1
        return [candidate.hint for candidate in chosen]

    def answered(self, asked: Hint, contact: Contact) -> None:
        """The node that was asked proved to be `contact`, perhaps another than was hinted at."""
        if contact.public_key == asked.public_key:
            self._settle(asked, _State.ANSWERED)
            self._contacts.setdefault(contact.public_key, contact)
        else:
            self._settle(asked, _State.FAILED)
            self.add([contact.hint])

    def failed(self, asked: Hint) -> None:
        """No answer, or none that was worth anything."""
        candidate = self._settle(asked, _State.FAILED)
        if candidate.referrer is not None:
            self._dead[candidate.referrer] += 1

    @property
    def is_over(self) -> bool:
        """Whether the k closest have answered and nobody closer is left to be asked."""
        return not any(
            candidate.state in (_State.NEW, _State.ASKED)
            for candidate in self._nearest_hopefuls()
            if candidate.state is _State.ASKED or self._asked < MAX_ASKED
        )

    def closest(self, count: int | None = None) -> list[Contact]:
        """The k, or `count`, proven nodes that answered, the closest first."""
        ordered = sorted(
            self._contacts.values(), key=lambda contact: distance(contact.node_id, self.key)
        )
        return ordered[: self._k if count is None else count]

    def _is_welcome(self, hint: Hint) -> bool:
        if hint.public_key == self._own_key or len(self._candidates) >= _MOST_CANDIDATES:
            return False
        if self._addresses[hint.public_key] >= _MOST_ADDRESSES_A_KEY:
            return False
        near = self._is_near(hint.endpoint.ip)
        return near or self._narrow[prefix_group(hint.endpoint.ip)[1]] < _MOST_NARROW

    def _nearest_hopefuls(self) -> list[_Candidate]:
        """The k closest that are not out: dead, answered elsewhere, or a liar's."""
        hopefuls: list[_Candidate] = []
        for candidate in self._candidates:
            if len(hopefuls) == self._k:
                break
            if not self._is_out(candidate):
                hopefuls.append(candidate)
        return hopefuls

    def _is_out(self, candidate: _Candidate) -> bool:
        if candidate.state in (_State.NEW, _State.ASKED):
            if candidate.hint.public_key in self._contacts:
                return True
            return candidate.state is _State.NEW and self._is_liar(candidate.referrer)
        return candidate.state is _State.FAILED

    def _is_liar(self, referrer: bytes | None) -> bool:
        if referrer is None:
            return False
        tried = self._tried[referrer]
        return tried >= _JUDGED_AFTER and self._dead[referrer] * 2 > tried

    def _settle(self, asked: Hint, state: _State) -> _Candidate:
        candidate = next(each for each in self._candidates if each.hint == asked)
        candidate.state = state
        return candidate
