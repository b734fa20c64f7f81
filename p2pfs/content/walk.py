"""The one depth-first walk over a file's blocks, behind reading, serving and verifying.

It never sees a block: the driver fetches, checks and parses what the walk asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.cid import DAG_PB, Cid
from p2pfs.content.unixfs import FileNode, parse_file, part
from p2pfs.content.varint import MAX_INTEGER
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# 174^5 chunks of 256 KiB are 40 PB; trickle layouts are deeper, yet far from this.
MAX_DEPTH = 32
# Subtrees can be shared, so a small DAG can stand for endless work: a walk may meet this many
# blocks, and one more for each so many bytes that it covers.  Real chunks are far larger.
_FREE_BLOCKS = 65_536
_LEAST_BYTES_A_BLOCK = 1_024


class Want(NamedTuple):
    """The block needed next, and the bytes of the file that it and all below it stand for.

    `stop` is None only for a root of unknown size.  A raw block has exactly `stop - start` bytes:
    that is for the driver to check.  A CID with `inline` bytes carries its block: it is wanted
    like any other, so that its content is seen, but need not be fetched and CARs may lack it.
    """

    cid: Cid
    start: int
    stop: int | None


class Leaf(NamedTuple):
    """File content `[start, stop)`, which is what lies at `data_at` in the block of `cid`.

    A raw block is content and nothing else; in a framed one (dag-pb) there is more around it.
    """

    cid: Cid
    start: int
    stop: int
    data_at: int
    framed: bool


class Gap(NamedTuple):
    """A node that is not known yet, and the bytes of the file below it."""

    cid: Cid
    start: int
    stop: int


def walk(
    root: Cid, size: int | None, start: int, stop: int | None
) -> Generator[Want, FileNode | None, None]:
    """Ask in preorder for the blocks that overlap `[start, stop)`, the root in any case.

    For a dag-pb block the driver sends its `FileNode`, or None to leave out what is below; for a
    raw one None.  The walk is lazy: a small range of a large file costs its path.  Raises
    MalformedError where sizes disagree, or for a DAG that is deeper or denser than any real one.
    """
    if size is not None:
        part(root, size)
    end = MAX_INTEGER if stop is None else stop
    if start >= end:
        start = end = 0  # an empty range within a block touches that block no more than others
    levels: list[Iterator[Want]] = [iter((Want(root, 0, size),))]
    budget = _FREE_BLOCKS
    met = 0
    while levels:
        want = next(levels[-1], None)
        if want is None:
            levels.pop()
            continue
        met += 1
        node = yield want
        if node is None:
            continue
        if met == 1:
            budget += max(0, min(end, node.size) - start) // _LEAST_BYTES_A_BLOCK
        if met > budget:
            raise MalformedError(f"over {budget} blocks in a file of {node.size} bytes")
        _check(node, want, len(levels))
        levels.append(_overlapping(node, want.start, start, end))


def leaves(
    root: Cid,
    size: int,
    start: int,
    stop: int | None,
    lookup: Callable[[Cid], FileNode | None],
) -> Iterator[Leaf | Gap]:
    """What `[start, stop)` of a file is made of, in order, as far as its nodes are known.

    Blocks that merely overlap the range come whole.  `lookup` is asked for dag-pb nodes, but for
    those that their CID carries.  Raises MalformedError as `walk` does.
    """
    end = size if stop is None else min(stop, size)
    if start >= end:
        return
    steps = walk(root, size, start, end)
    want: Want | None = next(steps)
    while want is not None:
        after = size if want.stop is None else want.stop
        node = _known(want.cid, lookup) if want.cid.codec == DAG_PB else None
        following = _next(steps, node)  # first, since this checks the node
        if node is not None:
            content_end = want.start + node.data_size
            if start < content_end and want.start < min(content_end, end):
                yield Leaf(want.cid, want.start, content_end, node.data_at, framed=True)
        elif want.cid.codec == DAG_PB:
            yield Gap(want.cid, want.start, after)
        else:
            yield Leaf(want.cid, want.start, after, 0, framed=False)
        want = following


def _check(node: FileNode, want: Want, depth: int) -> None:
    if want.stop is not None and node.size != want.stop - want.start:
        raise MalformedError(
            f"{want.cid} is of {node.size} bytes where {want.stop - want.start} belong"
        )
    if node.children and depth > MAX_DEPTH:
        raise MalformedError(f"a file over {MAX_DEPTH} blocks deep")


def _overlapping(node: FileNode, at: int, start: int, stop: int) -> Iterator[Want]:
    """The children of a node at offset `at` that share a byte with `[start, stop)`."""
    at += node.data_size
    for cid, size in node.children:
        if at >= stop:
            return
        after = at + size
        if size and after > start:
            yield Want(cid, at, after)
        at = after


def _known(cid: Cid, lookup: Callable[[Cid], FileNode | None]) -> FileNode | None:
    inline = cid.inline
    return lookup(cid) if inline is None else parse_file(cid, inline)


def _next(steps: Generator[Want, FileNode | None, None], node: FileNode | None) -> Want | None:
    try:
        return steps.send(node)
    except StopIteration:
        return None
