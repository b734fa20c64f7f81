"""The parts of an answer: pieces of content, planned, and laid out as sections of a CAR.

No reading here; `blocks` fills what this lays out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.car import block_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.content.intervals import Intervals

# Enough that a thread's hop and a write to a socket weigh little; it is memory a connection.
_BATCH_BYTES = 1024 * 1024
# Below the number of buffers that one preadv takes (IOV_MAX, 1,024).
_BATCH_PIECES = 512


class Piece(NamedTuple):
    """A block of a CAR: `size` bytes at `at` in the content of `root`.

    A dag-pb block is not in a file, and its `at` is None.
    """

    cid: Cid
    size: int
    root: Cid
    at: int | None

    def is_in(self, coverage: Intervals | None) -> bool:
        """Whether it is among what may be had of its root."""
        if coverage is None:
            return False
        return self.at is None or coverage.covers(self.at, self.at + self.size)


class Plan:
    """The blocks of a range of a content in a CAR's order, found anew by each iteration.

    `section_bytes` is what they take in a CAR without its header, each with its prefix;
    `content_size` the size of the whole content.
    """

    def __init__(self, root: Cid, content_size: int, pieces: Callable[[], Iterator[Piece]]) -> None:
        self.root = root
        self.content_size = content_size
        self.section_bytes = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[Piece]:
        """Raises NotFoundError if something has gone since the plan was made."""
        return self._pieces()


class Span:
    """Neighbouring bytes of a file and the buffers they go to."""

    def __init__(self, start: int, buffer: memoryview) -> None:
        self.start = start
        self.stop = start + len(buffer)
        self.buffers = [buffer]

    def extend(self, buffer: memoryview) -> None:
        self.stop += len(buffer)
        self.buffers.append(buffer)


def batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += piece.size
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_PIECES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def sections(batch: Sequence[Piece]) -> tuple[bytearray, list[memoryview]]:
    """A buffer with the prefixes already in it, and where in it each block goes."""
    prefixes = [block_prefix(piece.cid, piece.size) for piece in batch]
    buffer = bytearray(sum(map(len, prefixes)) + sum(piece.size for piece in batch))
    view = memoryview(buffer)
    blocks = []
    at = 0
    for piece, prefix in zip(batch, prefixes, strict=True):
        block_at = at + len(prefix)
        view[at:block_at] = prefix
        at = block_at + piece.size
        blocks.append(view[block_at:at])
    return buffer, blocks
