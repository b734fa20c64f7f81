"""The ASGI application that other nodes and IPFS clients talk to: blocks, CARs, record pages.

It gives what `store.blocks` and the record store hold, and fetches nothing for anybody.  How a
request is read is in `trustless`; connections are accepted, and counted, in `streams.http`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import trio

from p2pfs.addresses import canonical_ip
from p2pfs.content.car import block_prefix, encode_header
from p2pfs.content.cid import MAX_CID_BYTES, parse_cid, read_cid
from p2pfs.content.intervals import Intervals
from p2pfs.dht.recordpages import (
    MAX_BODY_BYTES,
    MAX_CURSOR_BYTES,
    MAX_PAGE_VALUE_BYTES,
    encode_page,
)
from p2pfs.dht.records import MAX_SUBJECT_BYTES, parse_subject
from p2pfs.errors import MalformedError, NotFoundError, P2pfsError
from p2pfs.peers.answers import Answer, once, read_body, refusal, respond, send_answer, whole
from p2pfs.peers.limits import InFlight, Rate, client_group
from p2pfs.peers.trustless import (
    CAR_TYPE,
    CarWish,
    RawWish,
    RefusedError,
    answer_headers,
    is_unchanged,
    parse_wish,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from p2pfs.content.cid import Cid
    from p2pfs.dht.recordstore import RecordStore
    from p2pfs.peers.answers import Message, Receive, Send
    from p2pfs.peers.pacing import Link
    from p2pfs.store.blocks import Blocks
    from p2pfs.store.pieces import Piece, Plan

Accept = Callable[[bytes, str], Awaitable[int]]
"""Takes a batch of records from an IP, and says how many are kept; raises MalformedError."""

# PROTOCOLS section 4.
_MAX_IN_FLIGHT = 64
_BATCHES_PER_SECOND = 10
_RESPONSE_SECONDS = 3_600
# Longer CARs are asked for in parts: planning one costs time before its first byte.
_MAX_CAR_BYTES = 4 << 30
# Pieces looked at in one go in the loop.
_PIECES_A_STEP = 256
# Reads of the record store at once; they are short, and its disk is one.
_RECORD_READS = 4
_RECORDS_PATH = "/p2pfs/v1/records"
_HAVE_PATH = "/p2pfs/v1/have/"
_NODES_PATH = "/p2pfs/v1/nodes"
# Of a directory's entries at once: a thousand roots of small files are 110 KB.
_MAX_NODES = 1_024
_MAX_NODES_BYTES = 1 << 20
# Of a content read here and there.  Whoever asks is told the first ones, some 10 KB; 37 at most.
_MAX_HELD_INTERVALS = 2_048

_log = logging.getLogger(__name__)


class Gateway:
    """`GET` and `HEAD /ipfs/{cid}`, `/p2pfs/v1/have/{cid}`; `GET`, `POST /p2pfs/v1/records`.

    `POST /p2pfs/v1/nodes`.
    """

    def __init__(
        self,
        blocks: Blocks,
        records: RecordStore,
        accept: Accept,
        is_near: Callable[[str], bool],
        clock: Callable[[], float],
        uplink: Link | None = None,
    ) -> None:
        """`is_near`: of which IPs no counts are limited; `clock`: UNIX seconds."""
        self.served_bytes = 0
        """Of blocks, since the start."""
        self._blocks = blocks
        self._records = records
        self._accept = accept
        self._is_near = is_near
        self._clock = clock
        self._uplink = uplink
        self._in_flight = InFlight(_MAX_IN_FLIGHT)
        self._batches = Rate(_BATCHES_PER_SECOND)
        self._record_reads = trio.CapacityLimiter(_RECORD_READS)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, in the ASGI's terms."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        ip = canonical_ip(scope["client"][0])
        group = None if self._is_near(ip) else client_group(ip)
        if group is not None and not self._in_flight.enter(group):
            refused = refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many at once")
            await send_answer(refused, scope["method"], send)
            return
        try:
            with trio.move_on_after(_RESPONSE_SECONDS):
                await self._respond(scope, receive, send, ip)
        finally:
            if group is not None:
                self._in_flight.leave(group)

    async def _respond(self, scope: Message, receive: Receive, send: Send, ip: str) -> None:
        answer = await self._answer(scope, receive, ip)
        if self._uplink is not None:
            pieces = self._uplink.paced(client_group(ip), answer.pieces)
            answer = replace(answer, pieces=pieces)
        try:
            await respond(answer, scope["method"], receive, send)
        except NotFoundError as error:
            refused = refusal(HTTPStatus.NOT_FOUND, str(error))
            await respond(refused, scope["method"], receive, send)

    async def _answer(self, scope: Message, receive: Receive, ip: str) -> Answer:
        try:
            return await self._route(scope, receive, ip)
        except RefusedError as error:
            return refusal(error.status, str(error))
        except NotFoundError as error:
            return refusal(HTTPStatus.NOT_FOUND, str(error))
        except MalformedError as error:
            return refusal(HTTPStatus.BAD_REQUEST, str(error))
        except P2pfsError as error:
            _log.warning("%s could not be answered: %s", scope["path"], error)
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "this node has a problem of its own")

    async def _route(self, scope: Message, receive: Receive, ip: str) -> Answer:
        method, path = scope["method"], scope["path"]
        if path == _RECORDS_PATH and method == "POST":
            return await self._take_batch(scope, receive, ip)
        if path == _NODES_PATH and method == "POST":
            return await self._nodes(receive)
        if method not in {"GET", "HEAD"}:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} means nothing here")
        if path == _RECORDS_PATH:
            return await self._page(scope["query_string"])
        if path.startswith("/ipfs/"):
            return await self._content(scope)
        if path.startswith(_HAVE_PATH):
            return await self._have(path.removeprefix(_HAVE_PATH))
        raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")

    async def _content(self, scope: Message) -> Answer:
        headers = dict(scope["headers"])
        wish = parse_wish(scope["path"], scope["query_string"], headers)
        if is_unchanged(wish, headers.get(b"if-none-match", b"")):
            return Answer(HTTPStatus.NOT_MODIFIED, [(b"etag", wish.etag.encode())], once(b""))
        if isinstance(wish, RawWish):
            return await self._raw(wish)
        return await self._car(wish)

    async def _raw(self, wish: RawWish) -> Answer:
        size = await self._blocks.held(wish.cid)
        if size is None:
            raise NotFoundError(f"{wish.cid} is not here")
        start, stop = wish.span(size)
        headers = answer_headers(wish, stop - start)
        if wish.byte_range is None:
            return Answer(HTTPStatus.OK, headers, self._block(wish.cid, start, stop))
        headers.append((b"content-range", f"bytes {start}-{stop - 1}/{size}".encode()))
        return Answer(HTTPStatus.PARTIAL_CONTENT, headers, self._block(wish.cid, start, stop))

    async def _car(self, wish: CarWish) -> Answer:
        plan = await self._plan(wish)
        pieces: Iterable[Piece] = plan
        length = plan.section_bytes
        if not wish.has_duplicates:
            pieces, length = await _distinct(plan)
        header = encode_header(wish.cid)
        headers = answer_headers(wish, len(header) + length)
        return Answer(HTTPStatus.OK, headers, self._sections(header, pieces))

    async def _plan(self, wish: CarWish) -> Plan:
        size = self._blocks.root_size(wish.cid)
        if wish.only_root or size is None:
            return await self._blocks.plan(wish.cid, 0, 0)
        start, stop = wish.entity.span(size)
        if stop - start > _MAX_CAR_BYTES:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST,
                f"ask for at most {_MAX_CAR_BYTES} bytes at once, with entity-bytes",
            )
        return await self._blocks.plan(wish.cid, start, stop)

    async def _nodes(self, receive: Receive) -> Answer:
        """Many small blocks for one round trip; what is not here is left out."""
        raw = await read_body(receive, _MAX_NODES * MAX_CID_BYTES)
        pieces = await self._blocks.nodes(_cids(raw), _MAX_NODES_BYTES)
        if not pieces:
            raise NotFoundError("none of these is here")
        header = encode_header(pieces[0].cid)
        sizes = (len(block_prefix(piece.cid, piece.size)) + piece.size for piece in pieces)
        headers = [
            (b"content-type", CAR_TYPE.encode()),
            (b"content-length", str(len(header) + sum(sizes)).encode()),
        ]
        return Answer(HTTPStatus.OK, headers, self._sections(header, pieces))

    async def _have(self, cid: str) -> Answer:
        held = await self._blocks.coverage(parse_cid(cid))
        told = Intervals(islice(held, _MAX_HELD_INTERVALS))
        return whole(HTTPStatus.OK, told.encode(), "application/octet-stream")

    async def _block(self, cid: Cid, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        block = await self._blocks.read(cid)
        self.served_bytes += stop - start
        yield block[start:stop]

    async def _sections(
        self, header: bytes, pieces: Iterable[Piece]
    ) -> AsyncGenerator[bytes | bytearray, None]:
        """The header comes once the first blocks are there: until then a 404 can be answered."""
        async with aclosing(self._blocks.read_pieces(pieces)) as batches:
            async for batch in batches:
                if header:
                    yield header
                    header = b""
                yield batch
                self.served_bytes += len(batch)
        if header:
            yield header

    async def _page(self, query: bytes) -> Answer:
        subject = parse_subject(_hexadecimal(query, "subject", MAX_SUBJECT_BYTES))
        cursor = _hexadecimal(query, "cursor", MAX_CURSOR_BYTES)
        now = int(self._clock())
        page = await trio.to_thread.run_sync(
            self._records.page,
            subject.key,
            cursor,
            MAX_PAGE_VALUE_BYTES,
            now,
            limiter=self._record_reads,
        )
        encoded = encode_page([record.value for record in page.records], page.next)
        return whole(HTTPStatus.OK, encoded, "application/octet-stream")

    async def _take_batch(self, scope: Message, receive: Receive, ip: str) -> Answer:
        if not self._is_near(ip) and not self._batches.take(client_group(ip), trio.current_time()):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "at most ten batches a second")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if int(length) > MAX_BODY_BYTES:  # h11 and h2 have seen to it that it is a number
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a batch of over 256 KiB")
        kept = await self._accept(await read_body(receive, MAX_BODY_BYTES), ip)
        return whole(HTTPStatus.OK, str(kept).encode())


async def _distinct(plan: Plan) -> tuple[list[Piece], int]:
    """Each block once, and how many bytes they take."""
    seen: dict[bytes, Piece] = {}
    for count, piece in enumerate(plan, 1):
        seen.setdefault(piece.cid.multihash, piece)
        if count % _PIECES_A_STEP == 0:
            await trio.lowlevel.checkpoint()
    pieces = list(seen.values())
    return pieces, sum(len(block_prefix(piece.cid, piece.size)) + piece.size for piece in pieces)


def _cids(raw: bytes) -> list[Cid]:
    """Binary CIDs, one after another; raises MalformedError."""
    found = []
    at = 0
    while at < len(raw):
        cid, at = read_cid(raw, at)
        found.append(cid)
    if len(found) > _MAX_NODES:
        raise MalformedError(f"at most {_MAX_NODES} blocks at once")
    return found


def _hexadecimal(query: bytes, name: str, max_bytes: int) -> bytes:
    """A field of the query, empty if it is missing; raises MalformedError."""
    try:
        values = parse_qs(query.decode("ascii"), max_num_fields=4).get(name, [""])
        raw = bytes.fromhex(values[0])
    except ValueError as error:
        raise MalformedError(f"{name} is written in hexadecimal") from error
    if len(raw) > max_bytes:
        raise MalformedError(f"{name} is too long")
    return raw
