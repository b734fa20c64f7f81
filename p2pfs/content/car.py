"""CARv1 files, the form in which runs of blocks cross the network, and the ranges asked for.

Sans-I/O; which blocks belong in an answer is decided by `walk`, whether one is right by its
reader.  https://ipld.io/specs/transport/car/carv1/, and IPIP-402 for `entity-bytes`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libipld

from p2pfs.content.cid import MAX_BLOCK_BYTES, MAX_CID_BYTES, Cid, read_cid
from p2pfs.content.varint import encode_varint, read_short_varint
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

# One root is what a gateway writes; this is room for a few.
_MAX_HEADER_BYTES = 1_024
_MAX_SECTION_BYTES = MAX_CID_BYTES + MAX_BLOCK_BYTES
# The varints of these lengths.
_HEADER_LENGTH_BYTES = 2
_SECTION_LENGTH_BYTES = 4
_MAX_PREFIX_BYTES = _SECTION_LENGTH_BYTES + MAX_CID_BYTES
_MORE = 0x80

_ENTITY_BYTES = re.compile(r"(-?[0-9]{1,18}):(-?[0-9]{1,18}|\*)", re.ASCII)


def encode_header(root: Cid) -> bytes:
    """What a CAR begins with: its length and {roots: [root], version: 1} in DAG-CBOR."""
    header = libipld.encode_dag_cbor({"roots": [root.encode()], "version": 1})
    return encode_varint(len(header)) + header


def block_prefix(cid: Cid, size: int) -> bytes:
    """What stands before a block of so many bytes: the section's length and the CID."""
    encoded = cid.encode()
    return encode_varint(len(encoded) + size) + encoded


class CarReader:
    """Takes a CAR in pieces as they arrive and gives its blocks, unverified, in order.

    A block that lies within a piece is a view of it; one that spans pieces is put together in
    place, so that no byte is copied twice.  What is kept is bounded by a block and its prefix.
    """

    def __init__(self) -> None:
        self.roots: tuple[Cid, ...] | None = None
        """What the header names, None until it has arrived."""
        self._head = b""  # the beginning of a header or of a block's prefix
        self._cid: Cid | None = None  # of the block that has begun
        self._size = 0
        # If it spans pieces.  A view, since a slice of a bytearray copies what it is given first.
        self._block: memoryview | None = None
        self._filled = 0

    def feed(self, piece: bytes | memoryview) -> Iterator[tuple[Cid, memoryview]]:
        """The blocks that end in this piece; exhaust it before the next one is fed.

        Raises MalformedError, after the blocks before the error were given.
        """
        view = memoryview(piece)
        at = 0
        if self.roots is None:
            at = self._read_header(view)
        while self.roots is not None:
            if self._cid is None:
                at = self._read_prefix(view, at)
            cid = self._cid
            if cid is None:
                return
            block, at = self._read_block(view, at)
            if block is None:
                return
            self._cid = None
            yield cid, block

    def close(self) -> None:
        """Say that no more will come; raises MalformedError if the CAR was cut."""
        if self.roots is None or self._cid is not None or self._head:
            raise MalformedError("a CAR that was cut")

    def _read_header(self, view: memoryview) -> int:
        head = self._head + view[: _HEADER_LENGTH_BYTES + _MAX_HEADER_BYTES - len(self._head)]
        length = _length(head, _HEADER_LENGTH_BYTES, _MAX_HEADER_BYTES)
        if length is None or len(head) < sum(length):
            self._head = head
            return len(view)
        size, start = length
        self.roots = _parse_header(head[start : start + size])
        return self._head_ends(start + size)

    def _read_prefix(self, view: memoryview, at: int) -> int:
        head = self._head + view[at : at + _MAX_PREFIX_BYTES - len(self._head)]
        length = _length(head, _SECTION_LENGTH_BYTES, _MAX_SECTION_BYTES)
        if length is None or len(head) < length[1] + min(length[0], MAX_CID_BYTES):
            self._head = head
            return len(view)
        size, start = length
        self._cid, end = read_cid(head[: start + size], start)
        self._size = start + size - end
        if self._size > MAX_BLOCK_BYTES:
            raise MalformedError(f"a block of {self._size} bytes in a CAR")
        ahead = self._head[end:]
        if ahead:  # it was not known yet that the CID ends before them
            self._begin_block(ahead)
        return at + self._head_ends(end)

    def _head_ends(self, end: int) -> int:
        """How much of the piece the head took that ends at `end`."""
        taken = max(0, end - len(self._head))
        self._head = b""
        return taken

    def _read_block(self, view: memoryview, at: int) -> tuple[memoryview | None, int]:
        if self._block is None and self._size <= len(view) - at:
            return view[at : at + self._size], at + self._size
        block = self._begin_block(b"") if self._block is None else self._block
        taken = min(self._size - self._filled, len(view) - at)
        block[self._filled : self._filled + taken] = view[at : at + taken]
        self._filled += taken
        if self._filled < self._size:
            return None, at + taken
        self._block = None
        return block, at + taken

    def _begin_block(self, beginning: bytes) -> memoryview:
        self._block = memoryview(bytearray(self._size))
        self._block[: len(beginning)] = beginning
        self._filled = len(beginning)
        return self._block


@dataclass(frozen=True, slots=True)
class EntityBytes:
    """A range of a file as IPIP-402 has it: from `first` up to and with `last`.

    Negative numbers count from the end of the file; a `last` of None is that end.
    """

    first: int
    last: int | None

    def span(self, size: int) -> tuple[int, int]:
        """The half-open range it means in a file of that size, empty if it lies outside."""
        start = self.first if self.first >= 0 else max(0, size + self.first)
        if self.last is None:
            stop = size
        else:
            stop = min(size, (self.last if self.last >= 0 else size + self.last) + 1)
        start = min(start, size)
        return start, max(start, stop)


WHOLE_ENTITY = EntityBytes(0, None)


def parse_entity_bytes(text: str) -> EntityBytes:
    """`from:to`; raises MalformedError for what no file could have."""
    match = _ENTITY_BYTES.fullmatch(text)
    if match is None:
        raise MalformedError("entity-bytes are written from:to")
    first = int(match[1])
    last = None if match[2] == "*" else int(match[2])
    if last is not None and (first < 0) == (last < 0) and first > last:
        raise MalformedError("entity-bytes that end before they begin")
    return EntityBytes(first, last)


def _length(head: bytes, max_bytes: int, limit: int) -> tuple[int, int] | None:
    """The length that `head` begins with and where it ends, None if it is not whole yet."""
    if len(head) < max_bytes and (not head or min(head) >= _MORE):
        return None
    length, end = read_short_varint(head, 0, min(len(head), max_bytes))
    if not 0 < length <= limit:
        raise MalformedError(f"a section of {length} bytes in a CAR")
    return length, end


def _parse_header(raw: bytes) -> tuple[Cid, ...]:
    try:
        header = libipld.decode_dag_cbor(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedError("a CAR whose header is not DAG-CBOR") from error
    if not isinstance(header, dict) or header.keys() != {"roots", "version"}:
        raise MalformedError("a CAR whose header has not just roots and a version")
    if header["version"] != 1 or not isinstance(header["roots"], list):
        raise MalformedError("a CAR of another version than 1")
    return tuple(map(_root, header["roots"]))


def _root(raw: object) -> Cid:
    if not isinstance(raw, bytes):
        raise MalformedError("a CAR whose root is not a CID")
    cid, end = read_cid(raw, 0)
    if end != len(raw):
        raise MalformedError("a CAR whose root goes on after its end")
    return cid
