"""What one download has seen of one peer, and what follows from it.

Pure: the time is an argument.  Which bytes it is asked for is decided in `plan`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from p2pfs.content.intervals import Intervals
from p2pfs.errors import UnreachableError
from p2pfs.peers.errors import PeerBusyError, PeerLacksError
from p2pfs.transfer.failure import is_wrong

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2pfs.dht.overlay import Provider
    from p2pfs.errors import P2pfsError

MIB = 1024 * 1024
# A run takes about this long beyond two round trips: long enough that a request's own cost does
# not count, short enough that a reader who seeks, or a peer who slows down, is noticed.
RUN_SECONDS = 0.1
FIRST_RUN_BYTES = MIB
MIN_RUN_BYTES = 256 * 1024  # the usual leaf: less cannot be verified
MAX_RUN_BYTES = 16 * MIB
# A run's length changes by at most this factor at a time, so that one stall does not rule.
_MAX_CHANGE = 2.0
# A peer without an answer for this long is late, unless it is known to take longer.
_MIN_PATIENCE_SECONDS = 0.5
_MAX_PATIENCE_SECONDS = 2.0
_FIRST_PATIENCE_SECONDS = 1.0  # a connection of its own, to an unknown place, and a first block
# Failures in a row after which nobody waits for a peer any more; it is still tried again.
MAX_FAILURES = 3
_FIRST_BACKOFF_SECONDS = 0.5
_MAX_BACKOFF_SECONDS = 30.0
# One who has parts gets more of them while others read: its word on which is good for so long.
_ASK_AGAIN_SECONDS = 0.5
# While it has told of more so lately, it goes on to get more.
_GROWING_SECONDS = 3.0
# One who has not what it was asked for, or nothing at all; doubled each time.
_FIRST_LACK_SECONDS = 0.1
# One who again did not bring what was left to it, and gave nothing since, is left nothing for so
# long; doubled each time, until it gives something.
_FIRST_DISTRUST_SECONDS = 2.0
_MAX_DISTRUST_SECONDS = 300.0
# RFC 6298, section 2: how much one sample moves the smoothed delay and its variation.
_DELAY_GAIN = 1 / 8
_VARIATION_GAIN = 1 / 4
_PATIENT_VARIATIONS = 4


class Standing:
    """A provider, how much to ask it for at once, how long to wait, and whether to ask at all."""

    def __init__(
        self, provider: Provider, rate: float | None = None, suspect: bool = False
    ) -> None:
        self.provider = provider
        self.suspect = suspect  # it has sent wrong bytes of another file: asked after all others
        self.fetched_bytes = 0
        self.last_error: P2pfsError | None = None
        self.failures = 0
        self.retry_at = -inf
        self.is_dropped = False
        self.holds: Intervals | None = None
        """What it has of the file; None while that seems to be all of it."""
        self.is_asking = False
        """Whether it is being asked what it has."""
        self._asked_at = -inf
        self._is_to_tell = False
        self._grown = 0, 0
        self._grew_at = -inf
        self._distrust_seconds = 0.0
        self._trusted_at = -inf
        self._lacks = 0
        self.is_measured = rate is not None
        self.run_bytes = _within(rate * RUN_SECONDS) if rate is not None else FIRST_RUN_BYTES
        self._pace = 0.0  # seconds a byte
        self._delay: float | None = None
        self._variation = 0.0

    @property
    def key(self) -> bytes:
        """The peer's public key."""
        return self.provider.public_key

    @property
    def patience(self) -> float:
        """Seconds without a byte after which a request to this peer is late."""
        if self._delay is None:
            return _FIRST_PATIENCE_SECONDS
        usual = self._delay + _PATIENT_VARIATIONS * self._variation
        return min(max(usual, _MIN_PATIENCE_SECONDS), _MAX_PATIENCE_SECONDS)

    @property
    def delay(self) -> float:
        """Seconds until the first bytes of an answer, usually; 0 while unknown, to find out."""
        return self._delay or 0.0

    def seconds_for(self, size: int) -> float:
        """How long so many bytes take, as requests went lately; 0 while unknown."""
        return size * self._pace

    def is_usable(self, now: float) -> bool:
        return not self.is_dropped and now >= self.retry_at

    @property
    def is_whole(self) -> bool:
        """Whether it seems to have all of the file."""
        return self.holds is None

    @property
    def is_empty(self) -> bool:
        """Whether it has said that it has nothing."""
        return self.holds is not None and not (self.holds or self._is_to_tell)

    def has(self, position: int) -> bool:
        """Whether it can give this byte, as far as it has told."""
        return self.holds is None or self.holds.covers(position, position + 1)

    def parts(self, start: int, stop: int) -> list[tuple[int, int]]:
        """What it can give of these bytes."""
        return [(start, stop)] if self.holds is None else self.holds.overlaps(start, stop)

    def held_until(self, position: int) -> float:
        """Where what it can give from a byte on ends."""
        return inf if self.holds is None else self.holds.overlaps(position, 1 << 63)[0][1]

    def asks_at(self) -> float:
        """When to ask what it has by now; infinity of one who has all."""
        if self.holds is None or self.is_asking:
            return inf
        return max(self._asked_at + _ASK_AGAIN_SECONDS, self.retry_at)

    def may_have(self, gaps: Iterable[tuple[int, int]]) -> bool:
        """Whether it has some of these bytes, or is yet to say what it has."""
        if self.holds is None or self._is_to_tell:
            return True
        return any(self.holds.overlaps(*gap) for gap in gaps)

    def asked(self, now: float) -> None:
        """It is being asked what it has."""
        self.is_asking, self._asked_at = True, now

    def holds_all(self, start: int, stop: int) -> bool:
        """Whether it can give all of these bytes."""
        return self.holds is None or self.holds.covers(start, stop)

    def is_growing(self, now: float) -> bool:
        """Whether it is getting more of the file."""
        return now < self._grew_at + _GROWING_SECONDS

    def is_reading(self, place: tuple[int, int], now: float) -> bool:
        """Whether it is getting parts there, and brings what is left to it."""
        start, stop = self._grown
        is_there = start < place[1] and place[0] < stop
        return is_there and self.is_growing(now) and now >= self._trusted_at

    def let_down(self, now: float) -> None:
        """It did not bring in time what was left to it."""
        self._trusted_at = now + self._distrust_seconds
        longer = max(2 * self._distrust_seconds, _FIRST_DISTRUST_SECONDS)
        self._distrust_seconds = min(longer, _MAX_DISTRUST_SECONDS)

    def told(self, held: Intervals, size: int, now: float) -> None:
        """It has said which parts of `size` bytes it has; with none, it may yet get some."""
        known = self.holds or Intervals()
        grown = [gap for span in held for gap in known.gaps(*span)]
        if grown:
            self._grown, self._grew_at = (grown[0][0], grown[-1][1]), now
        self._asked_at = now
        self.is_asking, self._is_to_tell = False, False
        self.holds = None if held.covers(0, size) else held
        if not held:
            self._lacked(now)

    def is_hopeful(self, now: float) -> bool:
        """Whether a reader should rather wait for this peer than fail."""
        is_due = self.failures < MAX_FAILURES or now >= self.retry_at
        return is_due and not (self.is_dropped or self.is_empty)

    def request_limit(self, connections: int) -> int:
        """How many requests may overlap; a peer that has just failed gets one, as a probe."""
        return 1 if self.failures else connections

    def answered(self, after: float) -> None:
        """The first bytes of an answer came `after` so many seconds."""
        if self._delay is None:
            self._delay, self._variation = after, after / 2
            return
        self._variation += _VARIATION_GAIN * (abs(after - self._delay) - self._variation)
        self._delay += _DELAY_GAIN * (after - self._delay)

    def landed(self, size: int) -> None:
        """So many verified bytes came: whatever it was that failed, works again."""
        self.fetched_bytes += size
        self.failures = 0
        self._lacks = 0
        self._distrust_seconds = 0.0

    def completed(self, size: int, seconds: float, rtt: float | None) -> None:
        """A whole run came; the next is as long as fits into its time at this speed."""
        goal = RUN_SECONDS + 2 * (rtt or 0.0)
        change = min(max(goal / max(seconds, 1e-6), 1 / _MAX_CHANGE), _MAX_CHANGE)
        fitting = size * change
        # A run cut short by what was wanted says nothing against longer ones, if it was quick.
        if fitting > self.run_bytes or seconds > goal:
            self.run_bytes = _within(fitting)
        pace = seconds / size
        self._pace = (self._pace + pace) / 2 if self._pace else pace
        self.is_measured = True

    def erred(self, error: P2pfsError, now: float) -> bool:
        """A run ended with an error; False if it is none of the peer's."""
        self.is_asking = False
        if is_wrong(error):
            self.is_dropped = True  # never to be asked for this file again
        elif isinstance(error, PeerLacksError):
            # It may have parts, and is asked which.
            self.holds, self._asked_at, self._is_to_tell = Intervals(), -inf, True
            self._lacked(now)
        elif isinstance(error, PeerBusyError):
            self.retry_at = now + min(max(error.retry_after, 0.0), _MAX_BACKOFF_SECONDS)
        elif isinstance(error, UnreachableError):
            backoff = _FIRST_BACKOFF_SECONDS * 2.0**self.failures
            self.failures += 1
            self.retry_at = now + min(backoff, _MAX_BACKOFF_SECONDS)
        else:
            return False
        self.last_error = error
        return True

    def _lacked(self, now: float) -> None:
        self.retry_at = now + min(_FIRST_LACK_SECONDS * 2.0**self._lacks, _MAX_BACKOFF_SECONDS)
        self._lacks += 1


def _within(size: float) -> int:
    return int(min(max(size, MIN_RUN_BYTES), MAX_RUN_BYTES))
