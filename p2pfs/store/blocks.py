"""What others may have, and nothing else: blocks of intact shares and of what was fetched.

Which request asks for what is for `peers.contents`; where blocks lie, and reading them there, for
`offered`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.content.car import block_prefix
from p2pfs.content.cid import DAG_PB, RAW, block_matches
from p2pfs.content.unixfs import parse_file
from p2pfs.content.walk import Leaf, leaves, walk
from p2pfs.errors import NotFoundError
from p2pfs.store.offered import Offered
from p2pfs.store.pieces import Piece, Plan, Span, batches, sections

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.content.intervals import Intervals
    from p2pfs.content.unixfs import FileNode
    from p2pfs.content.walk import Want
    from p2pfs.store.dags import Dags
    from p2pfs.store.objects import Objects
    from p2pfs.store.shares import Shares

# Pieces looked at in one go in the loop, at a few microseconds each.
_PIECES_A_STEP = 256


class Blocks:
    """Reading for others.

    `seeds` says of a fetched content whether others may have it; `changed` is told the path of a
    share that is not what it was.
    """

    def __init__(
        self,
        dags: Dags,
        shares: Shares,
        objects: Objects,
        seeds: Callable[[Cid], bool],
        changed: Callable[[bytes], None],
    ) -> None:
        self._dags = dags
        self._offered = Offered(dags, shares, objects, seeds, changed)

    def root_size(self, cid: Cid) -> int | None:
        """The size of a file that is shared or was fetched, at least in part, under this CID."""
        return self._offered.size(cid)

    async def held(self, cid: Cid) -> int | None:
        """The size of one block that may be had here, None for any other."""
        if cid.inline is not None:
            return len(cid.inline)
        piece = await self._held_piece(cid)
        return None if piece is None else piece.size

    async def coverage(self, root: Cid) -> Intervals:
        """Which content of a file may be had here now; raises NotFoundError if none may."""
        coverage = await self._offered.coverage(root)
        if not coverage or self._dags.has_frames(root):  # framed leaves are served to nobody
            raise NotFoundError(f"{root} is not here")
        return coverage

    async def read(self, cid: Cid) -> bytes:
        """One block, which matches its CID; raises NotFoundError."""
        if cid.inline is not None:
            return cid.inline
        for piece in self._candidates(cid):
            block = bytearray(piece.size)
            try:
                await self._fill([piece], [memoryview(block)])
            except NotFoundError:
                continue
            if await self._are_right(piece.root, [(cid, memoryview(block))]):
                return bytes(block)
        raise NotFoundError(f"{cid} is not here")

    async def nodes(self, cids: Iterable[Cid], max_bytes: int) -> list[Piece]:
        """Those of these dag-pb blocks that may be had, as far as they fit; the first always does.

        They are pieces as `read_pieces` takes them.
        """
        pieces: list[Piece] = []
        for cid in cids:
            piece = await self._held_piece(cid) if cid.codec == DAG_PB else None
            if piece is not None:
                max_bytes -= piece.size
                if pieces and max_bytes < 0:
                    break
                pieces.append(piece)
        return pieces

    async def plan(self, root: Cid, start: int = 0, stop: int | None = None) -> Plan:
        """What a CAR of bytes `[start, stop)` of a content holds; of a lone block, that block.

        Raises NotFoundError unless every block of it is here.
        """
        plan = await self._plan(root, start, stop)
        coverages: dict[Cid, Intervals | None] = {}
        for count, piece in enumerate(plan, 1):
            if piece.root not in coverages:
                coverages[piece.root] = await self._offered.coverage(piece.root)
            if not piece.is_in(coverages[piece.root]):
                raise NotFoundError(f"{piece.cid} is not here")
            plan.section_bytes += len(block_prefix(piece.cid, piece.size)) + piece.size
            if count % _PIECES_A_STEP == 0:
                await trio.lowlevel.checkpoint()
        return plan

    async def read_pieces(self, pieces: Iterable[Piece]) -> AsyncGenerator[bytearray, None]:
        """The sections of a CAR (length, CID, block), some 1 MiB at a time, without its header.

        Raises NotFoundError, also as ShareChangedError, where a block has gone: cut the answer.
        """
        for batch in batches(pieces):
            buffer, blocks = sections(batch)
            await self._fill(batch, blocks)
            yield buffer

    async def _plan(self, root: Cid, start: int, stop: int | None) -> Plan:
        if root.inline is not None:
            return Plan(root, _inline_size(root, root.inline), _no_pieces)
        size = self._offered.size(root)
        if size is not None:
            return Plan(root, size, partial(self._pieces, root, size, start, stop))
        piece = await self._held_piece(root)
        if piece is None:
            raise NotFoundError(f"{root} is not here")
        return Plan(root, piece.size, partial(iter, (piece,)))

    def _pieces(self, root: Cid, size: int, start: int, stop: int | None) -> Iterator[Piece]:
        steps = walk(root, size, start, stop)
        want: Want | None = next(steps)
        while want is not None:
            cid, at, after = want
            node = None
            if cid.inline is not None:  # CARs leave out what the CID carries
                node = parse_file(cid, cid.inline) if cid.codec == DAG_PB else None
            elif cid.codec == DAG_PB:
                block, node = self._dags.block(cid), self._dags.node(cid)
                if block is None or node is None:
                    raise NotFoundError(f"{cid} is not here")
                yield Piece(cid, len(block), root, None)
            else:
                yield Piece(cid, (size if after is None else after) - at, root, at)
            want = _next(steps, node)

    async def _held_piece(self, cid: Cid) -> Piece | None:
        for piece in self._candidates(cid):
            if piece.is_in(await self._offered.coverage(piece.root)):
                return piece
        return None

    def _candidates(self, cid: Cid) -> Iterator[Piece]:
        """Where a block may be; whether it still is there is to be seen."""
        block = self._dags.block(cid)
        if block is not None:
            for root in self._dags.roots_of(cid):
                yield Piece(cid, len(block), root, None)
        if cid.codec == RAW:
            size = self._offered.size(cid)
            if size is not None:
                yield Piece(cid, size, cid, 0)
            for root, start in self._dags.places(cid):
                yield from self._leaf_at(cid, root, start)

    def _leaf_at(self, cid: Cid, root: Cid, start: int) -> Iterator[Piece]:
        """The raw leaf at this place, if it is the one with this CID."""
        size = self._offered.size(root)
        if size is None:
            return
        leaf = next(leaves(root, size, start, start + 1, self._dags.node), None)
        if isinstance(leaf, Leaf) and leaf.cid.multihash == cid.multihash and not leaf.framed:
            yield Piece(cid, leaf.stop - leaf.start, root, leaf.start)

    async def _fill(self, pieces: Sequence[Piece], blocks: Sequence[memoryview]) -> None:
        """Put each piece's block into its place; raises NotFoundError."""
        spans: dict[Cid, list[Span]] = {}
        for piece, block in zip(pieces, blocks, strict=True):
            of_root = spans.setdefault(piece.root, [])  # asked for even if only a node is
            if piece.at is None:
                self._copy_node(piece.cid, block)
            elif of_root and of_root[-1].stop == piece.at:
                of_root[-1].extend(block)
            else:
                of_root.append(Span(piece.at, block))
        for root, wanted in spans.items():
            if not await self._offered.read(root, wanted):  # of a share in doubt
                filled = zip(pieces, blocks, strict=True)
                got = [(piece.cid, block) for piece, block in filled if piece.root == root]
                if not await self._are_right(root, got):
                    raise NotFoundError(f"{root} is not here")

    async def _are_right(self, root: Cid, blocks: Sequence[tuple[Cid, memoryview]]) -> bool:
        """Whether each block matches its CID; if not, whoever follows the root's files is told."""
        reads = self._offered.reads
        are_right = await trio.to_thread.run_sync(_all_match, blocks, limiter=reads)
        if not are_right:
            self._offered.report(root)
        return are_right

    def _copy_node(self, cid: Cid, into: memoryview) -> None:
        block = self._dags.block(cid)
        if block is None:
            raise NotFoundError(f"{cid} is not here")
        into[:] = block


def _all_match(blocks: Sequence[tuple[Cid, memoryview]]) -> bool:
    return all(block_matches(cid, block) for cid, block in blocks)


def _inline_size(root: Cid, inline: bytes) -> int:
    node = parse_file(root, inline)
    if node.children:
        raise NotFoundError(f"{root} is not here")
    return node.size


def _no_pieces() -> Iterator[Piece]:
    return iter(())


def _next(steps: Generator[Want, FileNode | None, None], node: FileNode | None) -> Want | None:
    try:
        return steps.send(node)
    except StopIteration:
        return None
