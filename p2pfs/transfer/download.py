"""One file from many peers: runs the plan while somebody has the file open.

Which bytes are asked of whom is decided in `plan`; requests, hashing and writing are the client's.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio

from p2pfs.errors import P2pfsError
from p2pfs.transfer.candidates import Candidates
from p2pfs.transfer.checksum import Checksum
from p2pfs.transfer.copying import Copying
from p2pfs.transfer.failure import describe, why_not
from p2pfs.transfer.holdings import Holdings
from p2pfs.transfer.intake import Intake
from p2pfs.transfer.plan import Plan
from p2pfs.transfer.readers import Readers
from p2pfs.transfer.requests import Requests
from p2pfs.transfer.search import Search
from p2pfs.transfer.strays import Strays
from p2pfs.transfer.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.content.walk import Leaf
    from p2pfs.dht.overlay import Provider
    from p2pfs.identity import OwnKey
    from p2pfs.peers.client import Client
    from p2pfs.store.copies import Copies
    from p2pfs.store.object import Object
    from p2pfs.store.room import Room
    from p2pfs.transfer.run import Run, Span
    from p2pfs.transfer.search import FindProviders
    from p2pfs.transfer.slots import Slots
    from p2pfs.transfer.standing import Standing
    from p2pfs.transfer.strays import Whereabouts


@dataclass(frozen=True, slots=True)
class Means:
    """What all downloads share."""

    client: Client
    slots: Slots
    room: Room
    copies: Copies
    nursery: trio.Nursery
    own: OwnKey
    whereabouts: Whereabouts


class Download:
    """Brings what readers wait for, and what is read ahead, into one object of the store.

    Its tasks run in the nursery, and only while there is something to do.  Everything but `wait`
    and `wait_ended` is immediate.
    """

    def __init__(self, held: Object, find_providers: FindProviders, means: Means) -> None:
        self._object = held
        self._copying = Copying(held, means.copies)
        self._holdings = Holdings(held, self._copying.left_to_peers)
        self._client = means.client
        self._slots = means.slots
        self._readers = Readers()
        self._ahead = held.presence.windows
        self._plan = Plan(
            self._readers.blocked,
            ChainMap(self._readers.later, self._ahead),  # in order of the last map first
            self._holdings.missing,
            self._holdings.leaf_at,
            self._free_slots,
            lambda: means.own.public_key,
        )
        self._candidates = Candidates(self._plan.peers, means.client, held)
        self._strays = Strays(held, means.client, means.whereabouts)
        self._search = Search(find_providers, self.add_provider)
        self._tasks = Tasks(means.nursery, self._pump, self._fail_here)  # runs go by themselves
        self._local_error: Exception | None = None
        self._checksum = Checksum(held.size)
        self._intake = Intake(held, means.room, self._checksum, self._readers.is_any_at)
        self._requests = Requests(held, self._holdings, means.client, self._intake, self._tasks)
        self.claimed_crc32: int | None = None
        """What the publisher says of the whole content, if anybody has told."""

    def add_provider(self, provider: Provider) -> None:
        """Ask this peer too from now on."""
        if self._candidates.add(provider):
            self._pump()

    async def wait(self, start: int, stop: int) -> None:
        """Until these bytes are here and checked.

        Raises NoProvidersError, UnreachableError, IntegrityError or NoPeersError when nothing
        is left to be tried; NoSpaceError and whatever else stops this node itself.
        """
        if self._object.checked.covers(start, stop):
            return
        if self._tasks.is_closed:
            raise P2pfsError(_CLOSED)
        await self._readers.wait((start, stop), self._pump)

    async def wait_patiently(self, start: int, stop: int, ahead: int) -> None:
        """As `wait`, behind all that is read or read ahead; bytes up to `ahead` are brought too."""
        if self._object.checked.covers(start, stop):
            return
        if self._tasks.is_closed:
            raise P2pfsError(_CLOSED)
        await self._readers.wait_patiently((start, stop), ahead, self._pump)

    def prefetch(self, holder: object, spans: Sequence[Span]) -> None:
        """What `holder` will want next, in this order, in place of what it said before.

        It begins with the loop's next turn, so that whoever blocks right now is served first.
        """
        self._ahead.pop(holder, None)
        if self._tasks.is_closed or not any(start < stop for start, stop in spans):
            return
        self._ahead[holder] = tuple(spans)  # what is here of it stays, as long as can be
        missing = not all(self._object.checked.covers(*span) for span in spans)
        if missing and _AHEAD not in self._tasks:
            self._tasks.start(_AHEAD, trio.lowlevel.checkpoint)

    def close(self) -> None:
        """Cancel everything, fail blocked readers; `wait_ended` waits for the last task's end."""
        self._slots.forget(self._pump)
        self._ahead.clear()
        self._readers.fail_all(P2pfsError(_CLOSED))
        self._tasks.close()

    async def wait_ended(self) -> None:
        """Until nothing of a closed download touches its object any more."""
        await self._tasks.wait_ended()

    @property
    def cid(self) -> Cid:
        return self._object.cid

    @property
    def peers(self) -> tuple[Standing, ...]:
        """The peers of this file, each with the bytes it gave; to look at only."""
        return tuple(self._plan.peers.values())

    @property
    def last_error(self) -> str:
        """What went wrong, here or with each peer; empty if nothing did."""
        if self._local_error is not None:
            return str(self._local_error)
        complaint = self._checksum.complaint(self.claimed_crc32)
        if complaint:
            return f"complete, and every block matches {self.cid}, but {complaint}"
        return describe(self._candidates.failures()) or str(self._search.error or "")

    # Decisions: immediate, and made again after anything has changed.

    def _pump(self) -> None:
        """Start whatever is to be started now, and fail whoever waits in vain."""
        if self._tasks.is_closed:
            return
        now = trio.current_time()
        self._check_more()
        self._copy_more()
        while (run := self._plan.next_run(now)) is not None:
            self._slots.take(run.peer.key)
            self._tasks.start(run, self._fetch, run)
        self._ask_for_holdings(now)
        self._look_around(now)
        self._wait_for_slots(now)
        self._set_alarm(now)

    def _check_more(self) -> None:
        span = self._holdings.next_unchecked(self._plan.wanted())
        if span is not None and _CHECK not in self._tasks:
            self._tasks.start(_CHECK, self._check, span)

    def _copy_more(self) -> None:
        missing = (gap for span in self._plan.wanted() for gap in self._holdings.missing(*span))
        leaves = self._copying.take_unsought(missing)
        if leaves:
            self._tasks.start((_SEEK, leaves[0].start), self._copying.seek, leaves)
        leaf = self._copying.next_found(self._plan.wanted())
        if leaf is not None and _COPY not in self._tasks:
            self._tasks.start(_COPY, self._copy, leaf)

    def _ask_for_holdings(self, now: float) -> None:
        for peer in self._plan.to_ask(now):
            task = _HOLDINGS, peer
            if task not in self._tasks:  # it may have refused another request meanwhile
                peer.asked(now)
                self._tasks.start(task, self._candidates.ask, peer)

    def _look_around(self, now: float) -> None:
        """Look for more peers if that is due; without hope, fail who waits for one."""
        missing_bytes = self._holdings.missing_bytes
        blocked = missing_bytes(self._readers.spans)
        wanted = missing_bytes(self._plan.wanted())
        sound = self._candidates.sound(now)
        is_due = self._search.is_due(sound, wanted if sound else blocked, now)
        if is_due and _SEARCH not in self._tasks:
            self._tasks.start(_SEARCH, self._search.run)
        elif (
            blocked
            and _SEARCH not in self._tasks
            and self._plan.is_hopeless(self._readers.spans, now)
            and not self._seek_strays(now)
        ):
            error = why_not(self.cid, self._candidates.failures(), self._search.error)
            self._readers.fail(error, self._holdings.missing)

    def _seek_strays(self, now: float) -> bool:
        """Whether chunks that readers wait for are sought wherever else they may be."""
        missing = (gap for span in self._readers.spans for gap in self._holdings.missing(*span))
        for leaf in self._strays.take(missing, now):
            self._tasks.start((_STRAY, leaf.start), self._bring_stray, leaf)
        return self._strays.are_under_way

    def _wait_for_slots(self, now: float) -> None:
        """If other downloads have all of a peer's slots, be called when one is free."""
        if not self._plan.has_unasked(now):
            return
        for peer in self._plan.peers.values():
            if peer.is_usable(now) and not self._free_slots(peer, False):
                self._slots.call_when_released(peer.key, self._pump)

    def _set_alarm(self, now: float) -> None:
        """Decide again when something is late, or may be tried again."""
        at = self._plan.next_event(now) if any(self._plan.wanted()) else inf
        if at == inf:
            self._tasks.cancel(_ALARM)
        elif _ALARM in self._tasks:
            self._tasks.set_deadline(_ALARM, at)
        else:
            self._tasks.start(_ALARM, trio.sleep_forever, deadline=at)

    def _free_slots(self, peer: Standing, urgent: bool) -> int:
        limit = peer.request_limit(self._client.stats(peer.key).connections)
        return self._slots.free(peer.key, limit, urgent=urgent)

    # Events: what tasks report.

    def _arrived(self, part: Run | Leaf, start: int, stop: int) -> None:
        """Bytes are here, from wherever they came: whoever else brings only these may stop."""
        self._readers.serve(self._object.checked)
        for run in self._plan.overtaken((start, stop)):
            if run is not part:
                self._tasks.cancel(run)

    def _fail_here(self, error: Exception) -> None:
        """It is this node that cannot go on: readers have to know; the next one may succeed."""
        self._local_error = error
        self._ahead.clear()
        self._readers.fail_all(error)

    # Tasks: each ends with a new decision.

    async def _fetch(self, run: Run) -> None:
        try:
            await self._requests.fetch(run, partial(self._arrived, run))
        except P2pfsError as error:
            self._fail_here(error)
        finally:
            self._plan.runs.discard(run)
            self._slots.release(run.peer.key)

    async def _copy(self, leaf: Leaf) -> None:
        copy = partial(self._copying.copy, leaf)
        await self._intake.bring(leaf, copy, partial(self._arrived, leaf))

    async def _bring_stray(self, leaf: Leaf) -> None:
        fetch = partial(self._strays.fetch, leaf)
        try:
            await self._intake.bring(leaf, fetch, partial(self._arrived, leaf))
        finally:
            self._strays.ended(leaf, trio.current_time())

    async def _check(self, span: Span) -> None:
        await self._object.check(*span)
        self._readers.serve(self._object.checked)


_CLOSED = "the file was closed"
# Names of tasks.
_AHEAD = "ahead"
_CHECK = "check"
_SEEK = "seek"
_COPY = "copy"
_STRAY = "stray"
_SEARCH = "search"
_HOLDINGS = "holdings"
_ALARM = "alarm"
