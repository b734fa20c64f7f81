"""Which bytes of one file to ask of whom next.

Pure: no I/O, no clock.  `download` runs the plan; a peer's speed and faults are in `standing`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from p2pfs.content.intervals import Intervals
from p2pfs.transfer.run import Run
from p2pfs.transfer.standing import MAX_RUN_BYTES, MIB
from p2pfs.transfer.swarm import PART_BYTES, Swarm, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from p2pfs.transfer.run import Span
    from p2pfs.transfer.standing import Standing

# Below this a request's own cost (its head, the proof, both ends' work) is felt.
_MIN_SHARE_BYTES = MIB
# A blocked reader leaves what falls to another to that one for as long as it would take here: who
# has all may be slow with so many at him.  But for so long, since the other has to say that it has
# it; and for no longer than this.
_LEAST_LEFT_SECONDS = 0.5
_MOST_LEFT_SECONDS = 3.0


class Plan:
    """What readers wait for, what is read ahead, who is asked for what.

    `blocked` holds, at any time, the spans that readers wait for, in the order of their asking;
    `ahead` what each will want next.
    `missing(start, stop)` says which bytes have to come from a peer; `leaf_at(position)` which
    span has to come whole, since it is hashed as one.  `free_slots(peer, urgent)` says how many
    more requests a peer may get; an urgent one is for bytes that a reader is blocked on.

    Blocked readers come first, then what is read ahead.  What is under way is asked of nobody
    else, unless it is late.

    Where some peers have parts only, they probably read the same file, at the same place.  What
    they have is asked of them; of one who has all, each then asks for what falls to it (see
    `swarm`), and for what blocks a reader and does not come.  `me` is the own key.
    """

    def __init__(
        self,
        blocked: Collection[Span],
        ahead: Mapping[object, tuple[Span, ...]],
        missing: Callable[[int, int], list[Span]],
        leaf_at: Callable[[int], Span],
        free_slots: Callable[[Standing, bool], int],
        me: Callable[[], bytes],
    ) -> None:
        self.peers: dict[bytes, Standing] = {}
        self.runs: set[Run] = set()
        self._blocked = blocked
        self._ahead = ahead
        self._missing = missing
        self._leaf_at = leaf_at
        self._free_slots = free_slots
        self._swarm = Swarm(self.peers, me)
        self._left: dict[int, float] = {}  # part: since when a reader is blocked there

    def wanted(self) -> Iterator[Span]:
        """Every span somebody wants, the most urgent first."""
        yield from self._blocked
        for spans in self._ahead.values():
            yield from spans

    def next_run(self, now: float) -> Run | None:
        """The request to start now, already counted as under way; None if there is none."""
        unasked = self._unasked(now)
        if not any(self._free_slots(peer, True) for peer in self._usable(now)) or not unasked:
            return None
        if self._swarm.partial():
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
        due = [peer for peer in self._swarm.partial() if now >= peer.asks_at()]
        return due if due and self.has_unasked(now) else []

    def has_unasked(self, now: float) -> bool:
        """Whether more would be asked for if somebody had a free slot."""
        return bool(self._unasked(now))

    def next_event(self, now: float) -> float:
        """When `next_run` may have another answer, for no reason but the time."""
        retries = [peer.retry_at for peer in self.peers.values() if not peer.is_dropped]
        lates = [run.late_at for run in self.runs]
        asks = [peer.asks_at() for peer in self._swarm.partial()]
        left = [since + self._left_seconds() for since in self._left.values()]
        return min((at for at in retries + lates + asks + left if at > now), default=inf)

    def is_hopeless(self, awaited: Iterable[Span], now: float) -> bool:
        """Whether nothing comes, and no known peer is worth waiting for with what is awaited."""
        missing = [gap for span in awaited for gap in self._missing(*span)]
        peers = (peer for peer in self.peers.values() if peer.is_hopeful(now))
        return not self.runs and not any(peer.may_have(missing) for peer in peers)

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
                peer = self._best_peer(self._usable(now), start, urgent, now)
                if peer is not None:
                    return self._start(peer, start, unasked, urgent, now)
        return None

    def _shared_run(self, unasked: Intervals, now: float) -> Run | None:
        blocked = Intervals(part for span in self._blocked for part in unasked.overlaps(*span))
        window = min(start for start, _ in unasked), max(stop for _, stop in unasked)
        return (
            self._run_of_partial(blocked, unasked, True, now)
            or self._run_of_whole(self._swarm.ours(blocked, window, now), True, now)
            or self._overdue_run(blocked, window, now)
            or self._run_of_partial(unasked, unasked, False, now)
            or self._run_of_whole(self._swarm.ours(unasked, window, now), False, now)
        )

    def _overdue_run(self, blocked: Intervals, window: Span, now: float) -> Run | None:
        run = self._run_of_whole(self._overdue(blocked, now), True, now)
        if run is not None:
            self._swarm.let_down(run.start, window, now)
        return run

    def _overdue(self, blocked: Intervals, now: float) -> list[Span]:
        """What was left to others, and blocks a reader for too long."""
        parts = {start // PART_BYTES: (start, stop) for start, stop in pieces(blocked)}
        self._left = {part: self._left.get(part, now) for part in parts}
        until = now - self._left_seconds()
        return [span for part, span in parts.items() if self._left[part] <= until]

    def _left_seconds(self) -> float:
        whole = (peer for peer in self.peers.values() if peer.is_whole and not peer.failures)
        quickest = min((peer.seconds_for(PART_BYTES) for peer in whole), default=0.0)
        return min(max(quickest, _LEAST_LEFT_SECONDS), _MOST_LEFT_SECONDS)

    def _run_of_partial(
        self, wanted: Intervals, unasked: Intervals, urgent: bool, now: float
    ) -> Run | None:
        """The first of what is wanted that somebody with parts has, and has time for."""
        free = [peer for peer in self._usable(now) if peer.holds and self._free_slots(peer, urgent)]
        for start, stop in pieces(wanted) if free else ():
            able = [peer for peer in free if peer.parts(start, stop)]
            if not urgent:  # who has begun to get a part will soon have the whole of it
                able = [
                    peer for peer in able if peer.holds_all(start, stop) or not peer.is_growing(now)
                ]
            if able:
                first = min(peer.parts(start, stop)[0][0] for peer in able)
                peer = self._best_peer(able, first, urgent, now)
                if peer is not None:
                    return self._start(peer, first, unasked, urgent, now)
        return None

    def _run_of_whole(self, spans: Iterable[Span], urgent: bool, now: float) -> Run | None:
        """The first of these, of one who has all."""
        free = [
            peer for peer in self._usable(now) if peer.is_whole and self._free_slots(peer, urgent)
        ]
        for start, stop in spans if free else ():
            peer = self._best_peer(free, start, urgent, now)
            if peer is not None:
                return self._start(peer, start, Intervals([(start, stop)]), urgent, now)
        return None

    def _usable(self, now: float) -> list[Standing]:
        return [peer for peer in self.peers.values() if peer.is_usable(now)]

    def _best_peer(
        self, usable: Iterable[Standing], position: int, urgent: bool, now: float
    ) -> Standing | None:
        """Of those with a free slot, the one least busy; then the quickest, then the least used.

        One that fails or is late gets a blocked reader's bytes only if there is no better one.
        """
        asked = {run.peer for run in self.runs if run.start <= position < run.stop}
        peers = [peer for peer in usable if peer.has(position) and peer not in asked]
        sound = self._sound(peers, now)
        if urgent and sound:
            peers = sound
        free = [peer for peer in peers if self._free_slots(peer, urgent)]
        return min(free, key=lambda peer: self._rank(peer, urgent), default=None)

    def _sound(self, peers: list[Standing], now: float) -> list[Standing]:
        late = {run.peer for run in self.runs if run.is_late(now)}
        return [peer for peer in peers if not peer.failures and peer not in late]

    def _rank(self, peer: Standing, urgent: bool) -> tuple[bool, bool, int, float, int]:
        busy = sum(run.peer is peer for run in self.runs)
        delay = peer.delay if urgent else 0.0
        return peer.suspect, peer.failures > 0, busy, delay, peer.fetched_bytes

    def _start(
        self, peer: Standing, start: int, unasked: Intervals, urgent: bool, now: float
    ) -> Run:
        """From a leaf's start to a leaf's end, into whatever is wanted behind it."""
        leaf_start, leaf_stop = self._leaf_at(start)
        if peer.failures or (urgent and not peer.is_measured):
            stop = leaf_stop  # a probe; or a reader's first bytes, as soon as can be
        else:
            length = max(start + self._length(peer, unasked, now), leaf_stop)
            free_stop = unasked.overlaps(start, start + MAX_RUN_BYTES)[0][1]
            stop = self._leaf_at(int(min(free_stop, peer.held_until(start), length)) - 1)[1]
        run = Run(peer, leaf_start, stop, started=now, progress_at=now)
        self.runs.add(run)
        return run

    def _length(self, peer: Standing, unasked: Intervals, now: float) -> int:
        """How much to ask for at once."""
        length = min(peer.run_bytes, max(_MIN_SHARE_BYTES, self._share(unasked, now)))
        # Where readers feed each other, all are slow at times: short requests make them slower.
        return max(length, PART_BYTES) if self._swarm.partial() else length

    def _share(self, unasked: Intervals, now: float) -> int:
        """What each idle slot gets, so that one quick peer does not take all that is wanted."""
        idle = sum(self._free_slots(peer, False) for peer in self._usable(now))
        return unasked.total() // max(idle, 1)
