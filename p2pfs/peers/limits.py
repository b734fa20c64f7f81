"""How much may be asked of a node: requests in flight, rates.

Pure: time is handed in.  Connections are counted in `streams.http`, which accepts them; who waits
for a bucket does so in `pacing`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

# Buckets of clients that have been quiet are full again, so forgetting them changes nothing.
_REMEMBERED_GROUPS = 4_096
# What may come at once after a pause: it makes up for late wake-ups, and is hardly seen in 5 s.
_BURST_SECONDS = 0.1


class InFlight:
    """Counts what each group has under way at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()

    def enter(self, group: str) -> bool:
        """Count one more, unless that would be too many."""
        if self._counts[group] >= self._most:
            return False
        self._counts[group] += 1
        return True

    def leave(self, group: str) -> None:
        """One that was counted has ended."""
        self._counts[group] -= 1
        if not self._counts[group]:
            del self._counts[group]


class Rate:
    """So many a second and group; at once, after a quiet while, `at_once` or those of a second."""

    def __init__(self, per_second: float, at_once: float | None = None) -> None:
        self._per_second = per_second
        self._at_once = per_second if at_once is None else at_once
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, as of when

    def take(self, group: str, now: float) -> bool:
        """Count one more at time `now` (seconds of any clock), unless it comes too soon."""
        tokens, before = self._buckets.pop(group, (self._at_once, now))
        tokens = min(self._at_once, tokens + (now - before) * self._per_second)
        allowed = tokens >= 1
        self._buckets[group] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _REMEMBERED_GROUPS:
            self._buckets.popitem(last=False)
        return allowed


class Bucket:
    """So many bytes a second, taken before they are there: whoever takes pays by waiting."""

    def __init__(self, bytes_a_second: float) -> None:
        self._rate = bytes_a_second
        self._tokens = 0.0
        self._as_of = 0.0

    def take(self, count: int, now: float) -> float:
        """Take so many at `now` (seconds of any clock); after how many seconds they are due."""
        self._tokens = self._at(now) - count
        self._as_of = now
        return max(0.0, -self._tokens / self._rate)

    def wait(self, now: float) -> float:
        """For how many seconds what has been taken is still owed."""
        return max(0.0, -self._at(now) / self._rate)

    def _at(self, now: float) -> float:
        earned = (now - self._as_of) * self._rate
        return min(_BURST_SECONDS * self._rate, self._tokens + earned)
