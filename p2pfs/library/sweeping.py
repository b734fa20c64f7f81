"""Telling the network, in the background, which chunks this node has: the sweep over their keys.

Who has a whole file says so of its root (`announcing`, `providing`); a chunk's id is of use when
nobody does who could be reached, or when the same chunk is in another file.  What one step over
the keys does is for the overlay.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from p2pfs.concurrency import all_of
from p2pfs.content.balanced import DEFAULT_PROFILE
from p2pfs.content.cid import RAW
from p2pfs.content.metainfo import LIFETIME_SECONDS
from p2pfs.content.walk import Leaf, leaves
from p2pfs.dht.subjects import provider_subject
from p2pfs.errors import MalformedError, NoPeersError, P2pfsError
from p2pfs.store.provided import Told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from p2pfs.addresses import Endpoint
    from p2pfs.content.cid import Cid
    from p2pfs.dht.kad.sweeping import Swept
    from p2pfs.store.dags import Dags
    from p2pfs.store.swept import Begun, SharedFile, SweptFiles

    # Announces the first of these multihashes until then, at least one; raises NoPeersError if
    # nobody could be asked.
    Announce = Callable[[Sequence[bytes], int], Awaitable[Swept]]

_log = logging.getLogger(__name__)

# What has come meanwhile is swept together.
_LOOK_SECONDS = 30.0
# Requests a second to all nodes together, of which each gets one in minutes.
_NEW_REQUESTS_A_SECOND = 300.0
# Nobody waits for what is only to be kept up, as long as it lives that long: 200,000 chunks in two
# hours.
_RENEWED_REQUESTS_A_SECOND = 30.0
_RENEWED_WITHIN_SECONDS = 2 * 3_600
# Long before the end, and together with what would be due within the hour.
_RENEW_AFTER_SECONDS = 9 * 3_600
_TOGETHER_SECONDS = 3_600
# What peers say of this node's address can change from minute to minute; roots follow at once.
_MOVED_AFTER_SECONDS = 1_800
# Lookups wait for the network, so several stretches of keys are swept beside each other.  In a
# network of 10,000 nodes one lookup serves 70 chunks of 100,000, of 1,000 nodes 500.
LANES = 4
LANE_CHUNKS = 2_048
_STEP_CHUNKS = LANES * LANE_CHUNKS
# Before the next try where not even one chunk of a step was taken: it costs as much as the one
# before, and what hinders it may last.  After these it goes on, as others might take theirs.
_REFUSED_SECONDS = (30.0, 120.0, 600.0)
# Leaves looked at in one go in the loop, at a few microseconds each.
_LEAVES_A_STEP = 512


class Sweep:
    """Announces the newest `most` chunks of published files; knows after a restart where it was."""

    def __init__(
        self,
        announce: Announce,
        files: SweptFiles,
        dags: Dags,
        addresses: Callable[[], Sequence[Endpoint]],
        most: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._announce = announce
        self._files = files
        self._dags = dags
        self._addresses = addresses
        self._most = most
        self._clock = clock
        # Of the sweep under way: what nobody took, and how often a whole step was refused in a row.
        self._refused: set[Chunk] = set()
        self._refusals = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause = _LOOK_SECONDS
            try:
                await self._sweep()
            except _RefusedError as error:
                pause = _REFUSED_SECONDS[self._refusals - 1]
                _log.info("the sweep waits for %g s: %s", pause, error)
            except NoPeersError as error:
                _log.debug("the sweep waits: %s", error)
            except P2pfsError as error:  # the disk's trouble, and may be over the next time
                _log.warning("the sweep waits: %s", error)
            await trio.sleep(pause)

    async def _sweep(self) -> None:
        """All that is due, from where it was left."""
        at, now = tuple(map(str, self._addresses())), int(self._clock())
        begun = await self._begun(at, now) if at else None
        if begun is None:
            return
        chunks = await self._chunks(begun.files)
        done = bisect_right(chunks, begun.place, key=lambda chunk: chunk.key)
        rate = rate_of(begun, now)
        while done < len(chunks):
            step = await self._step(chunks[done : done + _STEP_CHUNKS], rate)
            self._judge(step)
            self._refused.update(step.refused)
            if step.done:
                done += step.done
                await self._files.reach(chunks[done - 1].key)
            if step.failure is not None:
                raise step.failure
        await self._try_again(rate)
        await self._files.end(Told(begun.started + LIFETIME_SECONDS, at))

    async def _step(self, chunks: Sequence[Chunk], rate: float) -> _Step:
        step = _Step(chunks, self._announce, self._clock)
        await step.run(rate)
        return step

    def _judge(self, step: _Step) -> None:
        """Raise _RefusedError if nobody took anything of it, unless that has been so for long.

        Whoever has made ids for some keys could else stop all chunks behind them.
        """
        if not step.is_refused:
            self._refusals = 0
        elif self._refusals < len(_REFUSED_SECONDS):
            self._refusals += 1
            raise _RefusedError("no node of the network takes records over HTTPS")

    async def _try_again(self, rate: float) -> None:
        """Once, with what nobody took when its turn came; what is left waits for the renewal."""
        again, left = sorted(self._refused), 0
        self._refused.clear()
        for start in range(0, len(again), _STEP_CHUNKS):
            step = await self._step(again[start : start + _STEP_CHUNKS], rate)
            left += len(step.refused)
        if left:
            _log.info("no node of the network takes in that %d of its chunks are here", left)

    async def _begun(self, at: tuple[str, ...], now: int) -> Begun | None:
        """The sweep under way, be it a new one; None if none is due."""
        begun = self._files.begun()
        # One that is refused from the start may as well take in what has come meanwhile.
        is_stuck = begun is not None and not begun.place and self._refusals > 0
        if begun is not None and not is_stuck and now < begun.started + _RENEW_AFTER_SECONDS:
            return begun
        newest = await self._files.newest(DEFAULT_PROFILE.chunk_bytes, self._most)
        due = due_files(newest, self._most, at, now)
        if not due:
            return None
        self._refused.clear()
        await self._files.begin([file.cid for file in due], now)
        return self._files.begun()

    async def _chunks(self, files: Sequence[tuple[Cid, int]]) -> list[Chunk]:
        """In the order of their keys."""
        found: set[bytes] = set()
        for cid, size in files:
            try:
                await self._add_chunks(cid, size, found)
            except MalformedError as error:
                _log.warning("the chunks of %s are not told: %s", cid, error)
        return await trio.to_thread.run_sync(partial(in_key_order, found))

    async def _add_chunks(self, root: Cid, size: int, found: set[bytes]) -> None:
        for count, leaf in enumerate(leaves(root, size, 0, size, self._dags.node), 1):
            if isinstance(leaf, Leaf) and leaf.cid.codec == RAW and not leaf.cid.is_identity:
                found.add(leaf.cid.multihash)
            if count % _LEAVES_A_STEP == 0:
                await trio.lowlevel.checkpoint()


class _Step:
    """A stretch of chunks, in lanes that go on beside each other whatever becomes of one."""

    def __init__(
        self, chunks: Sequence[Chunk], announce: Announce, clock: Callable[[], float]
    ) -> None:
        starts = range(0, len(chunks), LANE_CHUNKS)
        self._lanes = [chunks[start : start + LANE_CHUNKS] for start in starts]
        self._swept = [0 for _ in self._lanes]
        self._announce = announce
        self._clock = clock
        self._requests = 0
        self.refused: list[Chunk] = []  # by all nodes that they were offered to
        self.failure: P2pfsError | None = None

    @property
    def is_refused(self) -> bool:
        """Whether nobody took anything of what was offered."""
        return 0 < sum(self._swept) == len(self.refused)

    @property
    def done(self) -> int:
        """How many chunks there are before the first that was not offered."""
        count = 0
        for lane, swept in zip(self._lanes, self._swept, strict=True):
            count += swept
            if swept < len(lane):
                break
        return count

    async def run(self, rate: float) -> None:
        """Until each lane is swept or fails, and has taken as long as it may; see `failure`."""
        started = trio.current_time()
        await all_of(partial(self._sweep_noting, number) for number in range(len(self._lanes)))
        await trio.sleep(max(0.0, started + self._requests / rate - trio.current_time()))

    async def _sweep_noting(self, number: int) -> None:
        try:
            await self._sweep(number)
        except P2pfsError as error:
            self.failure = error

    async def _sweep(self, number: int) -> None:
        left = self._lanes[number]
        while left:
            hashes = [chunk.multihash for chunk in left]
            swept = await self._announce(hashes, int(self._clock()) + LIFETIME_SECONDS)
            refused, offered = set(swept.refused), left[: swept.contents]
            self.refused += [chunk for chunk in offered if chunk.multihash in refused]
            self._requests += swept.requests
            self._swept[number] += swept.contents
            left = left[swept.contents :]


class _RefusedError(NoPeersError):
    """Nodes were asked, and took nothing."""


class Chunk(NamedTuple):
    """Where a chunk's providers are found, and its hash."""

    key: bytes
    multihash: bytes


def in_key_order(multihashes: set[bytes]) -> list[Chunk]:
    """As the sweep goes over them: ten microseconds each."""
    return sorted(Chunk(provider_subject(each).key, each) for each in multihashes)


def rate_of(begun: Begun, now: int) -> float:
    """The requests a second that a sweep may take, also one that another run began; pure."""
    is_known = begun.known_until > now + _RENEWED_WITHIN_SECONDS
    return _RENEWED_REQUESTS_A_SECOND if is_known else _NEW_REQUESTS_A_SECOND


def due_files(
    newest: Sequence[SharedFile], most: int, addresses: tuple[str, ...], now: int
) -> list[SharedFile]:
    """Of the newest files with up to `most` chunks in all, those to be told of now; pure.

    New ones at once.  Of the others none until one must be; then those too that soon will.
    """
    counted, kept = 0, []
    for file in newest:
        counted += -(-file.size // DEFAULT_PROFILE.chunk_bytes)
        if counted > most:
            break
        kept.append(file)

    def is_due(file: SharedFile, at: int) -> bool:
        told = file.told
        if told is None or told.until > now + LIFETIME_SECONDS:
            return True
        has_moved = set(told.addresses) != set(addresses)
        after = _MOVED_AFTER_SECONDS if has_moved else _RENEW_AFTER_SECONDS
        return at >= told.until - LIFETIME_SECONDS + after

    if not any(is_due(file, now) for file in kept):
        return []
    return [file for file in kept if is_due(file, now + _TOGETHER_SECONDS)]
