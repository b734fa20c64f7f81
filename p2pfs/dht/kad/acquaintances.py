"""What dealing with an address has taught: its token, its round trip, how long it has been silent.

Nothing here says who is at an address; that takes a proof.  Times are monotonic seconds, handed in.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.dht.kad.tokens import TOKEN_LIFE_SECONDS

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint

# What a round trip may take: what is faster than the floor is not worth hurrying for,
# what is slower than the ceiling is not worth waiting for.
FIRST_TIMEOUT_SECONDS = 0.5
_LEAST_TIMEOUT_SECONDS = 0.25
_MOST_TIMEOUT_SECONDS = 1.5
# A person does not notice the first, and a busy machine may need it; at the second a lookup among
# silent nodes still ends within two seconds.
_LEAST_PATIENCE_SECONDS = 0.2
_MOST_PATIENCE_SECONDS = 0.5
# Strangers are waited for four times as long as nearly all of the last answers took: all but one in
# 10,000 answer, where round trips scatter as on the Internet (log-normal, sigma 0.6).
_RECENT, _NEARLY_ALL = 64, 61
_ENOUGH_RECENT = 16
_STRANGER_FACTOR = 4
# RFC 6298's smoothing, as TCP has used it for decades.
_SMOOTHING = 1 / 8
_VARIANCE_SMOOTHING = 1 / 4
_VARIANCES = 4
# After its first silence an address is left out of lookups for this long, doubled each time: one
# lost datagram costs little, a dead node is met once a minute.
_FIRST_SILENCE_SECONDS = 2.0
_MOST_SILENCE_SECONDS = 60.0
# About 200 bytes each; so many that were asked, and so many that only asked this node.
_REMEMBERED = 4_096
# How long a router lets in the answers to what was sent: RFC 4787 (REQ-5) recommends five minutes.
# Without an end there were no strangers left in a network of 60 nodes after two hours, and most
# nodes no longer took themselves for servers.
_LET_IN_SECONDS = 900.0


@dataclass(slots=True)
class RoundTrips:
    """A smoothed round trip and the time-out that follows from it."""

    smoothed: float | None = None
    variance: float = 0.0

    def measured(self, seconds: float) -> None:
        """Take one round trip into account."""
        if self.smoothed is None:
            self.smoothed, self.variance = seconds, seconds / 2
            return
        off = abs(seconds - self.smoothed)
        self.variance += _VARIANCE_SMOOTHING * (off - self.variance)
        self.smoothed += _SMOOTHING * (seconds - self.smoothed)

    @property
    def usual(self) -> float | None:
        """What few answers take longer than; None before the first measurement."""
        return None if self.smoothed is None else self.smoothed + _VARIANCES * self.variance

    @property
    def timeout(self) -> float | None:
        """How long to wait for an answer; None before the first measurement."""
        if self.usual is None:
            return None
        return min(_MOST_TIMEOUT_SECONDS, max(_LEAST_TIMEOUT_SECONDS, self.usual))


@dataclass(frozen=True, slots=True)
class Tally:
    """Of questions to those that had answered before: how many were answered, and how many not."""

    answers: int = 0
    silences: int = 0

    def __sub__(self, earlier: Tally) -> Tally:
        return Tally(self.answers - earlier.answers, self.silences - earlier.silences)

    @property
    def silent_share(self) -> float:
        """0 to 1; 0 of none."""
        asked = self.answers + self.silences
        return self.silences / asked if asked else 0.0


@dataclass(slots=True)
class Acquaintance(RoundTrips):
    """One address, with its round trips: there are thousands, so each is one object."""

    token: bytes | None = None
    token_until: float = 0.0
    asked: bool = False
    answered: bool = False
    silences: int = 0
    silent_until: float = 0.0

    def heard(self) -> None:
        """It has shown that it receives what is sent there."""
        self.answered, self.silences, self.silent_until = True, 0, 0.0


class Acquaintances:
    """All addresses met lately; the one not met for longest is forgotten first.

    Whoever asks from ever new ports makes this node forget others of that kind, and none it asked:
    it would take those for dead, since strangers are not asked often.
    """

    def __init__(self) -> None:
        # Those that were asked, and those that only asked; whoever was met last comes last.
        self._met: dict[Endpoint, Acquaintance] = {}
        self._callers: dict[Endpoint, Acquaintance] = {}
        # When something was sent to an IP last, the latest one last.
        self._sent_to: dict[str, float] = {}
        self._everyone = RoundTrips()
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._answers = 0
        self._silences = 0

    @property
    def tally(self) -> Tally:
        """Since the start."""
        return Tally(self._answers, self._silences)

    def token(self, address: Endpoint, now: float) -> bytes | None:
        """The token that the address issued, while it is good."""
        met = self._find(address)
        return met.token if met is not None and now < met.token_until else None

    def keep_token(self, address: Endpoint, token: bytes, now: float) -> None:
        """Remember the token that the address issued."""
        met = self._meet(address)
        met.token, met.token_until = token, now + TOKEN_LIFE_SECONDS

    def asking(self, address: Endpoint, now: float) -> None:
        """A request is sent there."""
        self.told(address, now)
        met = self._taken_out(address)
        met.asked = True
        self._remember(address, met)

    def told(self, address: Endpoint, now: float) -> None:
        """Something is sent there, be it nothing to be answered."""
        self._sent_to.pop(address.ip, None)
        self._sent_to[address.ip] = now
        if len(self._sent_to) > _REMEMBERED:
            del self._sent_to[next(iter(self._sent_to))]

    def was_sent_to(self, ip: str, now: float) -> bool:
        """Whether a router may let in what comes from there for that, whatever the port."""
        return now < self._sent_to.get(ip, -math.inf) + _LET_IN_SECONDS

    def was_asked(self, address: Endpoint) -> bool:
        """Whether a request was sent there, as far as is remembered."""
        met = self._find(address)
        return met is not None and met.asked

    def answered(self, address: Endpoint, seconds: float) -> None:
        """It answered, after so long."""
        met = self._meet(address)
        met.measured(seconds)
        met.heard()
        self._everyone.measured(seconds)
        self._recent.append(seconds)
        self._answers += 1

    def heard(self, address: Endpoint) -> None:
        """It has shown that it receives what is sent there."""
        self._meet(address).heard()

    def kept_silent(self, address: Endpoint, now: float) -> None:
        """It did not answer in time."""
        met = self._meet(address)
        pause = _FIRST_SILENCE_SECONDS * 2.0 ** min(met.silences, 10)
        met.silences += 1
        self._silences += met.answered
        met.silent_until = now + min(_MOST_SILENCE_SECONDS, pause)

    def forgive(self) -> None:
        """They are reached another way from now on: who was silent may answer."""
        for met in (*self._met.values(), *self._callers.values()):
            met.silences, met.silent_until = 0, 0.0

    def has_answered(self, address: Endpoint) -> bool:
        """Whether it ever answered; if not, the budget of first contacts applies."""
        met = self._find(address)
        return met is not None and met.answered

    def is_silent(self, address: Endpoint, now: float) -> bool:
        """Whether asking it now would most likely be waiting in vain."""
        met = self._find(address)
        return met is not None and now < met.silent_until

    def timeout(self, address: Endpoint) -> float:
        """How long to wait for its answer, 0.25 to 1.5 s."""
        met = self._find(address)
        own = met.timeout if met is not None else None
        seconds = self._stranger_timeout() if own is None else own
        doublings = met.silences if met is not None else 0
        return min(_MOST_TIMEOUT_SECONDS, seconds * 2.0 ** min(doublings, 4))

    def patience(self, address: Endpoint, now: float) -> float:
        """How long its answer may take before others are asked in its place; shorter than to wait.

        As long as those of nearly all take: a round trip, and one more where a token is needed.
        """
        met = self._find(address)
        usual = (met.usual if met is not None else None) or self._everyone.usual
        seconds = FIRST_TIMEOUT_SECONDS if usual is None else usual
        if self.token(address, now) is None:
            seconds *= 2
        return min(_MOST_PATIENCE_SECONDS, max(_LEAST_PATIENCE_SECONDS, seconds))

    def _stranger_timeout(self) -> float:
        if len(self._recent) < _ENOUGH_RECENT:
            return FIRST_TIMEOUT_SECONDS
        nearly_all = sorted(self._recent)[len(self._recent) * _NEARLY_ALL // _RECENT]
        return max(_LEAST_TIMEOUT_SECONDS, _STRANGER_FACTOR * nearly_all)

    def _find(self, address: Endpoint) -> Acquaintance | None:
        return self._met.get(address) or self._callers.get(address)

    def _meet(self, address: Endpoint) -> Acquaintance:
        met = self._taken_out(address)
        self._remember(address, met)
        return met

    def _taken_out(self, address: Endpoint) -> Acquaintance:
        """To be remembered anew, as the last."""
        return self._met.pop(address, None) or self._callers.pop(address, None) or Acquaintance()

    def _remember(self, address: Endpoint, met: Acquaintance) -> None:
        among = self._met if met.asked else self._callers
        among[address] = met
        if len(among) > _REMEMBERED:
            del among[next(iter(among))]
