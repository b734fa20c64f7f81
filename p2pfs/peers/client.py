"""What this node asks of its peers: ranges of files, blocks, record pages.

Content is verified on its way and written where the caller says; it is never returned.  Whom to
ask for what is decided in `transfer`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.content.car import CarReader
from p2pfs.content.cid import MAX_BLOCK_BYTES, block_matches
from p2pfs.content.intervals import Intervals
from p2pfs.dht.overlay import Provider
from p2pfs.dht.recordpages import MAX_BATCH_ROWS, parse_held
from p2pfs.errors import MalformedError
from p2pfs.peers.dialbacks import DIALBACK_PATH, REACHED, dialback_request
from p2pfs.peers.dialing import Dialer
from p2pfs.peers.errors import (
    PeerBusyError,
    PeerSilentError,
    PeerUnavailableError,
    WrongBlockError,
)
from p2pfs.peers.exchange import Asking, Request, checked_length, http_client
from p2pfs.peers.ledger import Ledger, PeerStats
from p2pfs.peers.pacing import Link
from p2pfs.peers.receiving import receive_car
from p2pfs.peers.transport import PeerTransport
from p2pfs.peers.verifying import CarVerifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from p2pfs.addresses import Endpoint
    from p2pfs.content.cid import Cid
    from p2pfs.dht.kad.repairing import Region
    from p2pfs.network import MemberKeys
    from p2pfs.peers.exchange import Answer
    from p2pfs.peers.receiving import Sink

_RAW = "application/vnd.ipld.raw"
_CAR = "application/vnd.ipld.car; version=1; order=dfs; dups=y"
_PAGE = "application/octet-stream"
# docs/wire.md, section 8: the empty identity CID, which every gateway has.
_PROBE = "/ipfs/bafkqaaa?format=raw"
# What a page of records may hold; the gateway's are far smaller.
_MAX_PAGE_BYTES = 1 << 20
# Blocks of 1 MiB in all, or one of the largest, and a prefix to each.
_MAX_NODES_BYTES = 4 << 20
# Intervals as the gateway tells them, 18 bytes each at most.
_MAX_HELD_BYTES = 40 << 10
# Beside the range itself: the blocks that overlap its ends, the path from the root.
_MAX_CAR_EXTRA_BYTES = 8 << 20
# Prefixes and nodes of the smallest chunks that `content.walk` lets pass.
_MAX_CAR_FACTOR = 2
# The hash of more than this is left to a thread: 50 µs.
_HASHED_AT_ONCE_BYTES = 64 << 10
# Threads that hash and write at once; more would wait for the same cores and disk.
_THREADS = 8
# Where a busy peer says that it may be asked again at once.
_LEAST_PAUSE_SECONDS = 0.5
# docs/wire.md, section 8: an answer in all, as long as its sender may take.
_ANSWER_SECONDS = 3_600


@asynccontextmanager
async def open_client(
    limit_down: int | None = None, members: MemberKeys | None = None
) -> AsyncIterator[Client]:
    """A client, `limit_down` in bytes a second; leaving ends its connections.

    No proxy, cookie or redirect is ever followed.
    """
    ledger = Ledger()
    transport = PeerTransport(Dialer(ledger, Link(limit_down) if limit_down else None, members))
    async with http_client(transport) as http, open_nursery() as nursery:
        nursery.start_soon(transport.close_old)
        # Two, so that a page of records does not wait for megabytes of content from the same peer.
        yield Client(Asking(http, ledger), Asking(http, ledger), ledger)
        nursery.cancel_scope.cancel()


class Client:
    """Every method raises one of `peers.errors`, and MalformedError for a file that is broken."""

    def __init__(self, content: Asking, records: Asking, ledger: Ledger) -> None:
        self._content = content
        self._records = records
        self._ledger = ledger
        self._threads = trio.CapacityLimiter(_THREADS)

    async def fetch_range(
        self, provider: Provider, root: Cid, size: int | None, start: int, stop: int, sink: Sink
    ) -> None:
        """Bring `[start, stop)` of a file, and the nodes above it, into the sink: one request.

        `size` is the file's, None if it is not known.  What landed before a failure stays.
        """
        span = f"dag-scope=entity&entity-bytes={start}:{stop - 1}"
        if start == stop:
            span = "dag-scope=block"
        request = Request("GET", f"/ipfs/{root}?format=car&{span}&order=dfs&dups=y", _CAR)
        verifier = CarVerifier(root, size, (start, stop), sink.node)
        limit = _MAX_CAR_FACTOR * (stop - start) + _MAX_CAR_EXTRA_BYTES
        key = provider.public_key

        def verified(count: int) -> None:
            self._ledger.verified(key, count)

        async with self._answer(self._content, provider, request, limit) as answer:
            await receive_car(answer.pieces, verifier, sink, self._threads, verified)

    async def fetch_block(self, provider: Provider, cid: Cid) -> bytes:
        """One whole block, at most 2 MiB, verified: roots, directories, nodes."""
        inline = cid.inline
        if inline is not None:
            return inline
        request = Request("GET", f"/ipfs/{cid}?format=raw", _RAW)
        async with self._answer(self._content, provider, request, MAX_BLOCK_BYTES) as answer:
            block = await answer.read()
            if not await self._matches(cid, block):
                raise WrongBlockError(f"block {cid} does not match its hash")
        self._ledger.verified(provider.public_key, len(block))
        return block

    async def fetch_nodes(self, provider: Provider, cids: Sequence[Cid]) -> dict[Cid, bytes]:
        """Those of at most 1,024 dag-pb blocks that a peer has and that fit, verified."""
        body = b"".join(cid.encode() for cid in cids)
        request = Request("POST", "/p2pfs/v1/nodes", _CAR, body)
        wanted, reader = set(cids), CarReader()
        found: dict[Cid, bytes] = {}
        async with self._answer(self._content, provider, request, _MAX_NODES_BYTES) as answer:
            try:
                for cid, block in reader.feed(await answer.read()):
                    if cid not in wanted or not block_matches(cid, block):
                        raise WrongBlockError(f"block {cid} was not asked for, or is another")
                    found[cid] = bytes(block)
                reader.close()
            except MalformedError as error:
                raise WrongBlockError(f"an answer that is no CAR: {error}") from error
        self._ledger.verified(provider.public_key, sum(map(len, found.values())))
        return found

    async def fetch_held(self, provider: Provider, root: Cid) -> Intervals:
        """Which content of a file a peer says that it has by now."""
        request = Request("GET", f"/p2pfs/v1/have/{root}", _PAGE)
        async with self._answer(self._records, provider, request, _MAX_HELD_BYTES) as answer:
            encoded = await answer.read()
        try:
            return Intervals.decode(encoded)
        except MalformedError as error:
            raise PeerUnavailableError(f"what the peer says it has: {error}") from error

    async def fetch_page(
        self, public_key: bytes, endpoint: Endpoint, subject: bytes, cursor: bytes, known: bytes
    ) -> bytes:
        """A page of the records under an encoded subject, from where `cursor` says; unverified.

        Without those of which `known` holds the digests, one after the other.
        """
        query = f"subject={subject.hex()}&cursor={cursor.hex()}"
        provider = Provider(public_key, (endpoint,))
        request = (
            Request("POST", f"/p2pfs/v1/records/missing?{query}", _PAGE, known)
            if known
            else Request("GET", f"/p2pfs/v1/records?{query}", _PAGE)
        )
        return await self._page(provider, request)

    async def fetch_names(
        self, public_key: bytes, endpoint: Endpoint, region: Region, cursor: bytes
    ) -> bytes:
        """A page of the names of the records that a neighbour has in a region; unverified."""
        about = f"near={region.near.hex()}&bits={region.bits}&cursor={cursor.hex()}"
        request = Request("GET", f"/p2pfs/v1/names?{about}", _PAGE)
        return await self._page(Provider(public_key, (endpoint,)), request)

    async def fetch_named(self, public_key: bytes, endpoint: Endpoint, names: bytes) -> bytes:
        """The records of these names that a neighbour has; unverified."""
        request = Request("POST", "/p2pfs/v1/named", _PAGE, names)
        return await self._page(Provider(public_key, (endpoint,)), request)

    async def post_records(self, public_key: bytes, endpoint: Endpoint, batch: bytes) -> list[bool]:
        """Offer an encoded batch of records; of each row whether the peer says that it has it."""
        provider = Provider(public_key, (endpoint,))
        request = Request("POST", "/p2pfs/v1/records", _PAGE, batch)
        async with self._answer(self._records, provider, request, MAX_BATCH_ROWS) as answer:
            said = await answer.read()
        try:
            return parse_held(said)
        except MalformedError as error:
            raise PeerUnavailableError(f"{endpoint} does not say what it kept: {error}") from error

    async def probe(self, public_key: bytes, endpoint: Endpoint) -> None:
        """Reach a node by HTTPS; nothing is fetched."""
        provider = Provider(public_key, (endpoint,))
        request = Request("GET", _PROBE, _RAW)
        async with self._answer(self._records, provider, request, MAX_BLOCK_BYTES) as answer:
            await answer.read()

    async def ask_dialback(
        self, public_key: bytes, endpoint: Endpoint, own_key: bytes, own_port: int
    ) -> bool:
        """Whether a peer reaches this node at the IP that it sees and that port."""
        provider = Provider(public_key, (endpoint,))
        body = dialback_request(own_port, own_key)
        request = Request("POST", DIALBACK_PATH, _PAGE, body)
        async with self._answer(self._records, provider, request, len(REACHED)) as answer:
            return await answer.read() == REACHED

    def stats(self, public_key: bytes) -> PeerStats:
        """What talking to a peer has shown of it."""
        return self._ledger.stats(public_key)

    def peers(self) -> dict[bytes, PeerStats]:
        """Every peer that was asked for something, by public key."""
        return self._ledger.all()

    async def _page(self, provider: Provider, request: Request) -> bytes:
        """What is read in pages, asked for again while the peer is busy: callers wait so long."""
        while True:
            try:
                async with self._answer(self._records, provider, request, _MAX_PAGE_BYTES) as page:
                    return await page.read()
            except PeerBusyError as error:
                await trio.sleep(max(error.retry_after, _LEAST_PAUSE_SECONDS))

    @asynccontextmanager
    async def _answer(
        self, asking: Asking, provider: Provider, request: Request, limit: int
    ) -> AsyncIterator[Answer]:
        """An answer that is what was asked for, at most `limit` bytes long.

        All that is known of the peer from this exchange goes into the ledger.
        """
        key = provider.public_key
        try:
            with trio.fail_after(_ANSWER_SECONDS):
                async with asking.ask(provider, request) as answer:
                    length = await checked_length(answer, limit)
                    started = trio.current_time()
                    yield answer
                    self._ledger.received(key, length, trio.current_time() - started)
        except PeerBusyError:
            raise
        except trio.TooSlowError as error:
            self._ledger.failed(key)
            raise PeerSilentError("the peer takes too long in all") from error
        except PeerUnavailableError:
            self._ledger.failed(key)
            raise
        except WrongBlockError:
            self._ledger.lied(key)
            raise

    async def _matches(self, cid: Cid, block: bytes) -> bool:
        if len(block) <= _HASHED_AT_ONCE_BYTES:
            return block_matches(cid, block)
        return await trio.to_thread.run_sync(block_matches, cid, block, limiter=self._threads)
