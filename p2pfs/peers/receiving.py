"""A CAR answer on its way from a connection to the disk: verified, written, reported.

While one batch is hashed and written in a thread, the next is received.  What a CAR must hold is
decided in `verifying`; where it is asked for, in `client`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Protocol

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.content.cid import block_matches
from p2pfs.errors import MalformedError
from p2pfs.peers.errors import PeerUnavailableError, WrongBlockError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.content.unixfs import FileNode
    from p2pfs.peers.exchange import Body
    from p2pfs.peers.verifying import Batch, CarVerifier

    Span = tuple[int, int]
    Filled = tuple[Batch, bytearray]  # and the buffer that its content lies in

# One hop to a thread (80 µs) a batch: 2 % of the time it takes to hash it.
_BATCH_BYTES = 1 << 20
# A slow peer's blocks are handed on as they come: a reader may wait for the first of them.
_BATCH_SECONDS = 0.010
# Threads that hash and write at once; more would wait for the same cores and disk.
_THREADS = 8
# What is being filled, hashed or free: each exchange needs two.
_FREE_BUFFERS = 16


class Sink(Protocol):
    """Where verified content goes: `store.objects.Object`, memory in tests."""

    def node(self, cid: Cid) -> FileNode | None:
        """What a verified dag-pb block says, if it was kept before."""

    def write(self, start: int, data: memoryview) -> None:
        """Keep content at its offset; called in a thread."""

    def landed(self, start: int, stop: int) -> None:
        """Content of that range is written; called on the loop."""

    async def keep_nodes(self, nodes: Sequence[tuple[Cid, bytes]]) -> None:
        """Keep dag-pb blocks, all verified, before content below them is reported."""


class Lanes:
    """The threads that hash and write, and the buffers, that all exchanges share."""

    def __init__(self) -> None:
        self.threads = trio.CapacityLimiter(_THREADS)
        self._free: list[bytearray] = []

    def take_buffer(self) -> bytearray:
        return self._free.pop() if self._free else bytearray(_BATCH_BYTES)

    def give_back(self, buffer: bytearray) -> None:
        """Nothing looks at it any more."""
        if len(self._free) < _FREE_BUFFERS:
            self._free.append(buffer)


async def receive_car(
    body: Body, verifier: CarVerifier, sink: Sink, lanes: Lanes, verified: Callable[[int], None]
) -> None:
    """Take in a whole body, telling `verified` how many bytes of content were right and kept.

    Raises what the body, the verifier and the sink raise; what came before that is kept.
    """
    send, receive = trio.open_memory_channel["Filled"](0)
    failure: Exception | None = None
    async with open_nursery() as nursery:
        nursery.start_soon(_keep_all, receive, sink, lanes, verified)
        async with send:
            with suppress(trio.BrokenResourceError):  # `_keep_all` has ended, and says why
                failure = await _receive_all(body, verifier, lanes, send)
    if failure is not None:
        raise failure


async def _receive_all(
    body: Body, verifier: CarVerifier, lanes: Lanes, send: trio.MemorySendChannel[Filled]
) -> Exception | None:
    """A failure is returned, not raised, so that it does not cancel what is being written."""
    failure: Exception | None = None
    while body.remaining and failure is None:
        buffer = lanes.take_buffer()
        view = memoryview(buffer)
        filled, failure = await _fill(view, body)
        failure = _error_of(verifier.feed, view[:filled]) or failure
        batch = verifier.take()
        if batch.pieces or batch.nodes:
            await send.send((batch, buffer))
        else:
            lanes.give_back(buffer)
    return failure or _error_of(verifier.close)


def _error_of(check: Callable[..., None], *arguments: memoryview) -> Exception | None:
    try:
        check(*arguments)
    except (WrongBlockError, MalformedError) as error:
        return error
    return None


async def _fill(view: memoryview, body: Body) -> tuple[int, Exception | None]:
    """A batch: until the buffer is full, or for a moment from the first bytes on."""
    filled = 0
    hand_on_at = inf
    while body.remaining and filled < len(view):
        try:
            count = await body.receive_into(view[filled:], hand_on_at)
        except PeerUnavailableError as error:
            return filled, error
        filled += count
        now = trio.current_time()
        if now >= hand_on_at:
            break
        if filled and hand_on_at == inf:
            hand_on_at = now + _BATCH_SECONDS
    return filled, None


async def _keep_all(
    receive: trio.MemoryReceiveChannel[Filled],
    sink: Sink,
    lanes: Lanes,
    verified: Callable[[int], None],
) -> None:
    async with receive:
        async for batch, buffer in receive:
            spans: list[Span] = []
            wrong = None
            if batch.pieces:
                keep = partial(_keep, batch, sink)
                spans, wrong = await trio.to_thread.run_sync(keep, limiter=lanes.threads)
                batch.pieces.clear()
            lanes.give_back(buffer)
            if batch.nodes:
                await sink.keep_nodes(batch.nodes)
            for start, stop in spans:
                sink.landed(start, stop)
                verified(stop - start)
            if wrong is not None:
                raise WrongBlockError(f"block {wrong} does not match its hash")


def _keep(batch: Batch, sink: Sink) -> tuple[list[Span], Cid | None]:
    """In a thread: hash and write up to the first wrong block; the ranges written, joined."""
    spans: list[Span] = []
    for cid, start, content in batch.pieces:
        if cid is not None and not block_matches(cid, content):
            return spans, cid
        sink.write(start, content)
        stop = start + len(content)
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    return spans, None
