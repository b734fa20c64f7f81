"""A CAR answer on its way from a connection to the disk: verified, written, reported.

While one batch is hashed and written in a thread, the next is received.  What a CAR must hold is
decided in `verifying`; where it is asked for, in `client`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.content.cid import block_matches
from p2pfs.errors import MalformedError, P2pfsError
from p2pfs.peers.errors import PeerUnavailableError, WrongBlockError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.content.unixfs import FileNode
    from p2pfs.peers.verifying import Batch, CarVerifier

    Span = tuple[int, int]

# One hop to a thread (80 µs) a batch: 2 % of the time it takes to hash it.
_BATCH_BYTES = 1024 << 10
# A slow peer's blocks are handed on as they come: a reader may wait for the first of them.
_BATCH_SECONDS = 0.010
# What comes while a batch is hashed: a batch.
_WAITING_PIECES = 4


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


async def receive_car(
    pieces: AsyncIterator[bytes],
    verifier: CarVerifier,
    sink: Sink,
    threads: trio.CapacityLimiter,
    verified: Callable[[int], None],
) -> None:
    """Take in a whole body, telling `verified` how many bytes of content were right and kept.

    Raises what the pieces, the verifier and the sink raise; what came before that is kept.
    """
    send, receive = trio.open_memory_channel[bytes](_WAITING_PIECES)
    cut: PeerUnavailableError | None = None
    async with open_nursery() as nursery:
        nursery.start_soon(_keep_all, receive, verifier, sink, threads, verified)
        async with send:
            try:
                async for piece in pieces:
                    await send.send(piece)
            except trio.BrokenResourceError:
                pass  # `_keep_all` has ended, and says why
            except PeerUnavailableError as error:
                cut = error  # not raised here, since that would cancel what is being written
    if cut is not None:
        raise cut
    verifier.close()


async def _keep_all(
    receive: trio.MemoryReceiveChannel[bytes],
    verifier: CarVerifier,
    sink: Sink,
    threads: trio.CapacityLimiter,
    verified: Callable[[int], None],
) -> None:
    async with receive:
        while pieces := await _gathered(receive):
            failure = _feed(verifier, pieces)  # raised when what was right before it is kept
            batch = verifier.take()
            if batch.is_empty and failure is None:
                continue  # a slow peer's: no block is whole yet, and a hop to a thread is saved
            spans, wrong = await trio.to_thread.run_sync(_keep, batch, sink, limiter=threads)
            if batch.nodes:
                await sink.keep_nodes(batch.nodes)
            for start, stop in spans:
                sink.landed(start, stop)
                verified(stop - start)
            if wrong is not None:
                raise WrongBlockError(f"block {wrong} does not match its hash")
            if failure is not None:
                raise failure


def _feed(verifier: CarVerifier, pieces: Sequence[bytes]) -> P2pfsError | None:
    """Check pieces, up to what is wrong with them."""
    try:
        for piece in pieces:
            verifier.feed(memoryview(piece))
    except (WrongBlockError, MalformedError) as error:
        return error
    return None


async def _gathered(receive: trio.MemoryReceiveChannel[bytes]) -> list[bytes]:
    """A batch, or what comes within a moment of its first piece; nothing at the end."""
    pieces: list[bytes] = []
    with suppress(trio.EndOfChannel):
        pieces.append(await receive.receive())
        with trio.move_on_after(_BATCH_SECONDS):
            while sum(map(len, pieces)) < _BATCH_BYTES:
                pieces.append(await receive.receive())
    return pieces


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
