"""Which blocks go into a CAR: those along a path, then a file's range, or a directory and below.

All of them must be here, so that the length is known before the first is sent.  Who may have a
block, and reading it, is for `store.blocks`; the order is that of a depth-first walk.
"""

from __future__ import annotations

from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING

from p2pfs.content.cid import RAW, Cid
from p2pfs.content.hamt import ROOT, Below, checked_part, find
from p2pfs.content.unixfs import DirectoryNode, FileNode, ShardNode, parse_block
from p2pfs.errors import NotFoundError
from p2pfs.peers.trustless import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from p2pfs.content.car import EntityBytes
    from p2pfs.content.unixfs import Entry, UnixfsNode
    from p2pfs.store.blocks import Blocks
    from p2pfs.store.pieces import Piece, Plan

    Links = Callable[[UnixfsNode], list[Cid]]

# Longer CARs are asked for in parts: planning one costs time before its first byte.
_MAX_CAR_BYTES = 4 << 30
# Files and directories: 150 us each, so 2.5 s at most.  Subtrees may be shared, so that a small
# DAG could stand for endless many.
_MAX_NODES = 16_384


class CarBlocks:
    """The blocks of a CAR as they are added, and how many bytes they take in it.

    Every method raises NotFoundError for what is not here, MalformedError for a directory that is
    broken, and RefusedError if it is too much.
    """

    def __init__(self, blocks: Blocks) -> None:
        self.section_bytes = 0
        """Without the header."""
        self._blocks = blocks
        self._plans: list[Plan] = []

    def __iter__(self) -> Iterator[Piece]:
        """In order; raises NotFoundError if one has gone since it was added."""
        return chain.from_iterable(self._plans)

    async def follow(self, root: Cid, path: tuple[str, ...]) -> list[Cid]:
        """Add the blocks that are passed on a path; the root and what each name leads to."""
        met = [root]
        for name in path:
            met.append(await self._step(met[-1], name))
        return met

    async def add_block(self, cid: Cid) -> None:
        """The block alone, whatever it is."""
        if cid.inline is None:  # CARs leave out what the CID carries
            self._add(await self._blocks.plan(cid, 0, 0))

    async def add_tree(self, root: Cid, entity: EntityBytes, links: Links) -> None:
        """That range of a file; of anything else its block, and what `links` finds in it."""
        due = [root]
        met = 0
        while due:
            met += 1
            if met > _MAX_NODES:
                raise RefusedError(
                    HTTPStatus.BAD_REQUEST, f"over {_MAX_NODES} files and directories at once"
                )
            cid = due.pop()
            size = self._blocks.root_size(cid)
            if size is not None:
                await self._add_file(cid, *entity.span(size))
            elif cid.codec == RAW:
                await self.add_block(cid)
            else:
                due += reversed(links(await self._pass(cid)))

    async def _step(self, cid: Cid, name: str) -> Cid:
        node = await self._pass(cid)
        found: Entry | None = None
        if isinstance(node, DirectoryNode):
            found = next((entry for entry in node.entries if entry.name == name), None)
        elif isinstance(node, ShardNode):
            found = await self._in_shards(node, name)
        if found is None:
            raise NotFoundError(f"no {name!r} in {cid}")
        return found.cid

    async def _in_shards(self, root: ShardNode, name: str) -> Entry | None:
        step = find(root, ROOT, name)
        while isinstance(step, Below):
            shard = checked_part(await self._pass(step.cid), root)
            step = find(shard, step.way, name)
        return step

    async def _pass(self, cid: Cid) -> UnixfsNode:
        """Add a block and read it."""
        node = parse_block(cid, await self._blocks.read(cid))
        await self.add_block(cid)
        return node

    async def _add_file(self, cid: Cid, start: int, stop: int) -> None:
        if self.section_bytes + stop - start > _MAX_CAR_BYTES:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST,
                f"ask for at most {_MAX_CAR_BYTES} bytes at once, with entity-bytes",
            )
        self._add(await self._blocks.plan(cid, start, stop))

    def _add(self, plan: Plan) -> None:
        self._plans.append(plan)
        self.section_bytes += plan.section_bytes


def links_of_entity(node: UnixfsNode) -> list[Cid]:
    """What it takes to list a directory: the other shards."""
    _need_whole(node)
    children = node.children.values() if isinstance(node, ShardNode) else ()
    return [child for child in children if isinstance(child, Cid)]


def links_of_all(node: UnixfsNode) -> list[Cid]:
    """Everything in a directory."""
    _need_whole(node)
    if isinstance(node, DirectoryNode):
        return [entry.cid for entry in node.entries]
    children = node.children.values() if isinstance(node, ShardNode) else ()
    return [child if isinstance(child, Cid) else child.cid for child in children]


def _need_whole(node: UnixfsNode) -> None:
    """A file's root may be known from a listing, when the file itself is not here."""
    if isinstance(node, FileNode) and node.children:
        raise NotFoundError("the file is not here")
