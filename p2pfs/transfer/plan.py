"""Which bytes of one file to ask of whom next.

Pure: no I/O, no clock.  `download` runs the plan; a peer's speed and faults are in `standing`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from p2pfs.content.intervals import Intervals
from p2pfs.transfer.standing import MAX_RUN_BYTES, MIB

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from p2pfs.transfer.standing import Standing

Span = tuple[int, int]
"""Bytes of the file, half-open."""

# Below this a request's own cost (its head, the proof, both ends' work) is felt.
_MIN_SHARE_BYTES = MIB
# Places in what is read ahead that are compared for the rarest.
_PLACES = 16
# What falls to one reader in one piece: as long as a request.
_PART_BYTES = _MIN_SHARE_BYTES
# A blocked reader leaves what falls to another to that one, but not for longer than this: by then
# it has it and has said so, or it is slower than who has all.
_LEFT_TO_OTHERS_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class Run:
    """One request: these bytes of one peer.  They land in order, so what is left is its end."""

    peer: Standing
    start: int
    stop: int
    started: float
    progress_at: float
    is_urgent: bool = False
    landed_bytes: int = 0

    def is_late(self, now: float) -> bool:
        return now >= self.late_at

    @property
    def late_at(self) -> float:
        """When, without another byte, this is asked of somebody else too."""
        return self.progress_at + self.peer.patience


class Plan:
    """What readers wait for, what is read ahead, who is asked for what.

    `blocked` holds, at any time, the spans that readers wait for, in the order of their asking;
    `ahead` what each will want next.
    `missing(start, stop)` says which bytes have to come from a peer; `leaf_at(position)` which
    span has to come whole, since it is hashed as one.  `free_slots(peer, urgent)` says how many
    more requests a peer may get; an urgent one is for bytes that a reader is blocked on.

    Blocked readers come first, then what is read ahead.  What is under way is asked of nobody
    else, unless it is late.

    Where some peers have parts only, they probably read the same file, at the same place.  Of one
    who has all, each then wants one request at a time for what blocks it; else each asks first for
    what nobody has, and of that for what falls to its key (rendezvous hashing: Thaler, Ravishankar
    1998), so that readers bring different parts, and feed each other.  `me` is the own key.
    """

    def __init__(
        self,
        blocked: Collection[Span],
        ahead: Mapping[object, tuple[Span, ...]],
        missing: Callable[[int, int], list[Span]],
        leaf_at: Callable[[int], Span],
        free_slots: Callable[[Standing, bool], int],
        dice: random.Random,
        me: Callable[[], bytes],
    ) -> None:
        self.peers: dict[bytes, Standing] = {}
        self.runs: set[Run] = set()
        self._blocked = blocked
        self._ahead = ahead
        self._missing = missing
        self._leaf_at = leaf_at
        self._free_slots = free_slots
        self._dice = dice
        self._me = me
        self._left_until = -inf

    def wanted(self) -> Iterator[Span]:
        """Every span somebody wants, the most urgent first."""
        yield from self._blocked
        for spans in self._ahead.values():
            yield from spans

    def next_run(self, now: float) -> Run | None:
        """The request to start now, already counted as under way; None if there is none."""
        unasked = self._unasked(now)
        if not unasked:
            return None
        if self._partial_peers():
            return self._shared_run(unasked, now)
        for span in self._blocked:
            run = self._first_run(unasked, [span], True, now)
            if run is not None:
                return run
        for spans in self._ahead.values():
            run = self._first_run(unasked, spans, False, now)
            if run is not None:
                return run
        return None

    def to_ask(self, now: float) -> list[Standing]:
        """The peers to ask now which parts they have, if anything is to be asked of anybody."""
        due = [peer for peer in self._partial_peers() if now >= peer.asks_at()]
        return due if due and self.has_unasked(now) else []

    def has_unasked(self, now: float) -> bool:
        """Whether more would be asked for if somebody had a free slot."""
        return bool(self._unasked(now))

    def next_event(self, now: float) -> float:
        """When `next_run` may have another answer, for no reason but the time."""
        retries = [peer.retry_at for peer in self.peers.values() if not peer.is_dropped]
        lates = [run.late_at for run in self.runs]
        asks = [peer.asks_at() for peer in self._partial_peers()]
        left = [self._left_until] if asks else []
        return min((at for at in retries + lates + asks + left if at > now), default=inf)

    def is_hopeless(self, now: float) -> bool:
        """Whether nothing comes, and no known peer is worth waiting for."""
        missing = [gap for span in self._blocked for gap in self._missing(*span)]
        peers = (peer for peer in self.peers.values() if peer.is_hopeful(now))
        return not self.runs and not any(peer.may_have(missing) for peer in peers)

    def _partial_peers(self) -> list[Standing]:
        peers = self.peers.values()
        return [peer for peer in peers if peer.holds is not None and not peer.is_dropped]

    def overtaken(self, landed: Span) -> list[Run]:
        """The runs that share bytes with what has just landed, and have nothing left to bring."""
        start, stop = landed
        return [
            run
            for run in self.runs
            if run.start < stop and start < run.stop and not self._missing(run.start, run.stop)
        ]

    def _unasked(self, now: float) -> Intervals:
        """What is wanted, is missing, and is not under way in time."""
        unasked = Intervals(gap for span in self.wanted() for gap in self._missing(*span))
        for run in self.runs:
            if not run.is_late(now):
                unasked.remove(run.start, run.stop)
        return unasked

    def _first_run(
        self,
        unasked: Intervals,
        spans: Iterable[Span],
        urgent: bool,
        now: float,
    ) -> Run | None:
        for span in spans:
            for start, _ in unasked.overlaps(*span):
                peer = self._best_peer(start, urgent, now)
                if peer is not None:
                    return self._start(peer, start, unasked, urgent, now)
        return None

    def _shared_run(self, unasked: Intervals, now: float) -> Run | None:
        blocked = Intervals(part for span in self._blocked for part in unasked.overlaps(*span))
        run = self._run_of_partial(blocked, unasked, True, now)
        if run is None and not any(run.is_urgent and not run.is_late(now) for run in self.runs):
            run = self._rare_run(self._not_left(blocked, now), unasked, True, now)
        run = run or self._rare_run(unasked, unasked, False, now)
        return run or self._run_of_partial(unasked, unasked, False, now)

    def _not_left(self, blocked: Intervals, now: float) -> Intervals:
        """What of it to ask of those who have all: what falls to us; now and then, any."""
        ours = Intervals(
            part
            for start, stop in blocked
            for part in _parts(start, stop)
            if not self._preference(part[0])[1]
        )
        if ours or not blocked or now < self._left_until:
            return ours
        self._left_until = now + _LEFT_TO_OTHERS_SECONDS
        return blocked

    def _rare_run(
        self, wanted: Intervals, unasked: Intervals, urgent: bool, now: float
    ) -> Run | None:
        for start in sorted(self._random_places(wanted), key=self._preference):
            peer = self._best_peer(start, urgent, now)
            if peer is not None:
                return self._start(peer, start, unasked, urgent, now)
        return None

    def _run_of_partial(
        self, wanted: Intervals, unasked: Intervals, urgent: bool, now: float
    ) -> Run | None:
        """The first of what is wanted that somebody with parts has, and has time for."""
        for peer in self._partial_peers():
            if peer.holds and peer.is_usable(now) and self._free_slots(peer, urgent):
                for gap in wanted:
                    for start, _ in peer.holds.overlaps(*gap):
                        best = self._best_peer(start, urgent, now)
                        if best is not None and best.holds is not None:
                            return self._start(best, start, unasked, urgent, now)
        return None

    def _random_places(self, wanted: Intervals) -> Iterator[int]:
        for _ in range(_PLACES if wanted else 0):
            offset = self._dice.randrange(wanted.total())
            for start, stop in wanted:
                if offset < stop - start:
                    yield max(start, self._leaf_at(start + offset)[0])
                    break
                offset -= stop - start

    def _preference(self, position: int) -> tuple[int, bool]:
        """What few of those with parts have comes first; of that, what is for us to bring."""
        partial = self._partial_peers()
        part = (position // _PART_BYTES).to_bytes(8, "big")
        ours = zlib.crc32(part, zlib.crc32(self._me()))
        theirs = min(zlib.crc32(part, zlib.crc32(peer.key)) for peer in partial)
        return sum(peer.has(position) for peer in partial), theirs < ours

    def _best_peer(self, position: int, urgent: bool, now: float) -> Standing | None:
        """Of those with a free slot, the one least busy; then the quickest, then the least used.

        One that fails or is late gets a blocked reader's bytes only if there is no better one.
        """
        asked = {run.peer for run in self.runs if run.start <= position < run.stop}
        able = (peer for peer in self.peers.values() if peer.is_usable(now) and peer.has(position))
        peers = [peer for peer in able if peer not in asked]
        sound = self._sound(peers, now)
        if urgent and sound:
            peers = sound
        free = [peer for peer in peers if self._free_slots(peer, urgent)]
        return min(free, key=lambda peer: self._rank(peer, urgent), default=None)

    def _sound(self, peers: list[Standing], now: float) -> list[Standing]:
        late = {run.peer for run in self.runs if run.is_late(now)}
        return [peer for peer in peers if not peer.failures and peer not in late]

    def _rank(self, peer: Standing, urgent: bool) -> tuple[bool, bool, bool, int, float, int]:
        has_all = peer.holds is None  # so it is needed for what nobody else has
        busy = sum(run.peer is peer for run in self.runs)
        delay = peer.delay if urgent else 0.0
        return peer.suspect, peer.failures > 0, has_all, busy, delay, peer.fetched_bytes

    def _start(
        self, peer: Standing, start: int, unasked: Intervals, urgent: bool, now: float
    ) -> Run:
        """From a leaf's start to a leaf's end, into whatever is wanted behind it."""
        leaf_start, leaf_stop = self._leaf_at(start)
        shared = bool(self._partial_peers())
        if peer.failures or (urgent and (not peer.is_measured or (shared and peer.holds is None))):
            stop = leaf_stop  # a probe; or a reader's first bytes, as soon as can be
        else:
            share = 0 if shared else self._share(unasked, now)
            length = min(peer.run_bytes, max(_MIN_SHARE_BYTES, share))
            free_stop = unasked.overlaps(start, start + MAX_RUN_BYTES)[0][1]
            free_stop = int(min(free_stop, peer.held_until(start)))
            stop = self._leaf_at(min(free_stop, max(start + length, leaf_stop)) - 1)[1]
        run = Run(peer, leaf_start, stop, started=now, progress_at=now, is_urgent=urgent)
        self.runs.add(run)
        return run

    def _share(self, unasked: Intervals, now: float) -> int:
        """What each idle slot gets, so that one quick peer does not take all that is wanted."""
        idle = sum(
            self._free_slots(peer, False) for peer in self.peers.values() if peer.is_usable(now)
        )
        return unasked.total() // max(idle, 1)


def _parts(start: int, stop: int) -> Iterator[Span]:
    """A span cut where what falls to one reader ends."""
    while start < stop:
        end = min(stop, start - start % _PART_BYTES + _PART_BYTES)
        yield start, end
        start = end
