"""Whether a CAR is the one that a content id demands, and what of it is file content.

Sans-I/O.  Receiving it, and writing what is right, is for `receiving`; what belongs in it is
decided by `content.walk`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.car import CarReader
from p2pfs.content.cid import RAW, block_matches
from p2pfs.content.unixfs import parse_file
from p2pfs.content.walk import walk
from p2pfs.errors import MalformedError
from p2pfs.peers.errors import WrongBlockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from p2pfs.content.cid import Cid
    from p2pfs.content.unixfs import FileNode
    from p2pfs.content.walk import Want


class Piece(NamedTuple):
    """File content that begins at `start`; its `cid` is None if it is known to be right."""

    cid: Cid | None
    start: int
    content: memoryview


@dataclass(slots=True)
class Batch:
    """Content still to hash (views of what was fed), and nodes that are right."""

    pieces: list[Piece] = field(default_factory=list)
    nodes: list[tuple[Cid, bytes]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to hash or to keep."""
        return not (self.pieces or self.nodes)


class CarVerifier:
    """Takes a CAR in pieces, checks its order and its nodes, and gives what is left to hash.

    Nodes are hashed here, 0.02 % of a file, since they say what must come next; the
    content of raw blocks is not.  Nodes that `known` has are neither parsed nor given again: that
    is half a millisecond each, and every range comes with its path from the root.
    """

    def __init__(
        self,
        root: Cid,
        size: int | None,
        span: tuple[int, int],
        known: Callable[[Cid], FileNode | None],
    ) -> None:
        self._reader = CarReader()
        self._walk = walk(root, size, *span)
        self._known = known
        self._batch = Batch()
        self._want: Want | None = next(self._walk)
        self._pass_inline()

    def feed(self, piece: memoryview) -> None:
        """Check what has arrived; raises WrongBlockError, or MalformedError for a broken file.

        The difference: a wrong block is this peer's doing, a broken file its publisher's.
        """
        for cid, block in self._blocks(piece):
            if cid.is_identity:
                continue  # allowed, and superfluous
            want = self._want
            if want is None or cid.multihash != want.cid.multihash:
                raise WrongBlockError(f"block {cid} is not what belongs there")
            self._take(want, block)
            self._pass_inline()

    def take(self) -> Batch:
        """What has been accepted since it was last asked for."""
        batch, self._batch = self._batch, Batch()
        return batch

    def close(self) -> None:
        """Say that no more will come; raises WrongBlockError if something is missing."""
        try:
            self._reader.close()
        except MalformedError as error:
            raise WrongBlockError(str(error)) from error
        if self._want is not None:
            raise WrongBlockError(f"block {self._want.cid} is missing")

    def _blocks(self, piece: memoryview) -> Iterator[tuple[Cid, memoryview]]:
        try:
            yield from self._reader.feed(piece)
        except MalformedError as error:
            raise WrongBlockError(str(error)) from error

    def _take(self, want: Want, block: memoryview) -> None:
        if want.cid.codec != RAW:
            if not block_matches(want.cid, block):
                raise WrongBlockError(f"block {want.cid} does not match its hash")
            self._enter(want, bytes(block))
            return
        if want.stop is not None and len(block) != want.stop - want.start:
            if block_matches(want.cid, block):
                raise MalformedError(f"block {want.cid} is not as long as its file says")
            raise WrongBlockError(f"block {want.cid} does not match its hash")
        self._batch.pieces.append(Piece(want.cid, want.start, block))
        self._advance(None)

    def _enter(self, want: Want, block: bytes) -> None:
        node = None if want.cid.is_identity else self._known(want.cid)
        if node is None:
            node = parse_file(want.cid, block)
            if not want.cid.is_identity:
                self._batch.nodes.append((want.cid, block))
        self._advance(node)  # which checks the node, so first
        if node.data_size:
            content = memoryview(block)[node.data_at : node.data_at + node.data_size]
            self._batch.pieces.append(Piece(None, want.start, content))

    def _pass_inline(self) -> None:
        while self._want is not None and (block := self._want.cid.inline) is not None:
            want = self._want
            if want.cid.codec == RAW:
                self._batch.pieces.append(Piece(None, want.start, memoryview(block)))
                self._advance(None)
            else:
                self._enter(want, block)

    def _advance(self, node: FileNode | None) -> None:
        try:
            self._want = self._walk.send(node)
        except StopIteration:
            self._want = None
