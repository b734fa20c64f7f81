"""Blocks and CARs of what is here: `/ipfs/{cid}[/path]`, `/p2pfs/v1/nodes`, `/p2pfs/v1/have/{cid}`.

How a request is read is in `trustless`, which blocks a CAR holds in `cars`; nothing is fetched.
"""

from __future__ import annotations

from contextlib import aclosing
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING

import trio

from p2pfs.content.car import block_prefix, encode_header
from p2pfs.content.cid import MAX_CID_BYTES, parse_cid, read_cid
from p2pfs.content.intervals import Intervals
from p2pfs.errors import MalformedError, NotFoundError
from p2pfs.peers.answers import Answer, once, read_body, whole
from p2pfs.peers.cars import CarBlocks, links_of_all, links_of_entity
from p2pfs.peers.trustless import (
    CAR_TYPE,
    RawWish,
    RefusedError,
    answer_headers,
    is_unchanged,
    parse_wish,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from p2pfs.content.cid import Cid
    from p2pfs.peers.asked import Asked
    from p2pfs.peers.trustless import CarWish
    from p2pfs.store.blocks import Blocks
    from p2pfs.store.pieces import Piece

CONTENT_PATH = "/ipfs/"
HAVE_PATH = "/p2pfs/v1/have/"
NODES_PATH = "/p2pfs/v1/nodes"
# Of a directory's entries at once: a thousand roots of small files are 110 KB.
_MAX_NODES = 1_024
_MAX_NODES_BYTES = 1 << 20
# Pieces looked at in one go in the loop.
_PIECES_A_STEP = 256
# To send each once they are all remembered: 40 MB, and 32 GiB of content in usual chunks.
_MAX_DISTINCT = 1 << 17
# Of a content read here and there.  Whoever asks is told the first ones, some 10 KB; 37 at most.
_MAX_HELD_INTERVALS = 2_048


class Contents:
    def __init__(self, blocks: Blocks) -> None:
        self.served_bytes = 0
        """Of blocks, since the start."""
        self._blocks = blocks

    async def have(self, asked: Asked) -> Answer:
        """Which content of a file may be had here now."""
        asked.need_method("GET", "HEAD")
        held = await self._blocks.coverage(parse_cid(asked.path.removeprefix(HAVE_PATH)))
        told = Intervals(islice(held, _MAX_HELD_INTERVALS))
        return whole(HTTPStatus.OK, told.encode(), "application/octet-stream")

    async def nodes(self, asked: Asked) -> Answer:
        """Many small blocks for one round trip; what is not here is left out."""
        asked.need_method("POST")
        raw = await read_body(asked.receive, _MAX_NODES * MAX_CID_BYTES)
        pieces = await self._blocks.nodes(_cids(raw), _MAX_NODES_BYTES)
        if not pieces:
            raise NotFoundError("none of these is here")
        header = encode_header(pieces[0].cid)
        headers = [
            (b"content-type", CAR_TYPE.encode()),
            (b"content-length", str(len(header) + _section_bytes(pieces)).encode()),
        ]
        return Answer(HTTPStatus.OK, headers, self._sections(header, pieces))

    async def content(self, asked: Asked) -> Answer:
        """A block or a CAR."""
        asked.need_method("GET", "HEAD")
        wish = parse_wish(asked.path, asked.query, asked.headers)
        if is_unchanged(wish, asked.headers.get(b"if-none-match", b"")):
            return Answer(HTTPStatus.NOT_MODIFIED, [(b"etag", wish.etag.encode())], once(b""))
        try:
            return await (self._raw(wish) if isinstance(wish, RawWish) else self._car(wish))
        except NotFoundError as error:
            if b"only-if-cached" in asked.headers.get(b"cache-control", b""):
                raise RefusedError(HTTPStatus.PRECONDITION_FAILED, str(error)) from error
            raise

    async def _raw(self, wish: RawWish) -> Answer:
        met = await CarBlocks(self._blocks).follow(wish.cid, wish.path)
        size = await self._blocks.held(met[-1])
        if size is None:
            raise NotFoundError(f"{met[-1]} is not here")
        start, stop = wish.span(size)
        headers = answer_headers(wish, met, stop - start)
        block = self._block(met[-1], start, stop)
        if wish.byte_range is None:
            return Answer(HTTPStatus.OK, headers, block)
        headers.append((b"content-range", f"bytes {start}-{stop - 1}/{size}".encode()))
        return Answer(HTTPStatus.PARTIAL_CONTENT, headers, block)

    async def _car(self, wish: CarWish) -> Answer:
        blocks = CarBlocks(self._blocks)
        met = await blocks.follow(wish.cid, wish.path)
        if wish.scope == "block":
            await blocks.add_block(met[-1])
        else:
            links = links_of_entity if wish.scope == "entity" else links_of_all
            await blocks.add_tree(met[-1], wish.entity, links)
        pieces: Iterable[Piece] = blocks
        length = blocks.section_bytes
        if not wish.has_duplicates:
            pieces, length = await _distinct(blocks)
        header = encode_header(wish.cid)
        headers = answer_headers(wish, met, len(header) + length)
        return Answer(HTTPStatus.OK, headers, self._sections(header, pieces))

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


async def _distinct(blocks: CarBlocks) -> tuple[list[Piece], int]:
    """Each block once, and how many bytes they take."""
    seen: dict[bytes, Piece] = {}
    for count, piece in enumerate(blocks, 1):
        seen.setdefault(piece.cid.multihash, piece)
        if len(seen) > _MAX_DISTINCT:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST,
                f"over {_MAX_DISTINCT} blocks: ask with dups=y",
            )
        if count % _PIECES_A_STEP == 0:
            await trio.lowlevel.checkpoint()
    pieces = list(seen.values())
    return pieces, _section_bytes(pieces)


def _section_bytes(pieces: Iterable[Piece]) -> int:
    return sum(len(block_prefix(piece.cid, piece.size)) + piece.size for piece in pieces)


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
