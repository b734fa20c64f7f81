"""Balanced UnixFS files: from the hashes of the chunks to the root, as `ipfs add` builds it.

It never sees content but in `build_file`; what is built is read by `unixfs`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.cid import DAG_PB, Cid, cid_of, cid_v0_of, raw_cid
from p2pfs.content.dag_pb import Link, encode_node
from p2pfs.content.unixfs import (
    TAG_BLOCK_SIZE,
    TAG_DATA,
    TAG_FILE_SIZE,
    TAG_MODE,
    TAG_MTIME,
    TAG_TYPE,
    TYPE_FILE,
)
from p2pfs.content.varint import encode_varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Protobuf tags of the UnixTime message.
_TAG_SECONDS = 0x08
_TAG_NANOSECONDS = 0x15
_NANOSECONDS_BYTES = 4


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that a CID depends on beside the content, as IPIP-499 lists it."""

    name: str
    chunk_bytes: int
    width: int
    raw_leaves: bool = True
    cid_version: int = 1
    shards_by_block: bool = False
    """Whether a directory is sharded by its block's size, or by that of its names and CIDs."""


# What `ipfs add --cid-version=1` does.
DEFAULT_PROFILE = Profile("default", 256 * 1024, 174)
PROFILES = {
    profile.name: profile
    for profile in (
        DEFAULT_PROFILE,
        # The names are those of IPIP-499.
        Profile("unixfs-v0-2015", 256 * 1024, 174, raw_leaves=False, cid_version=0),
        Profile("unixfs-v1-2025", 1024 * 1024, 1_024, shards_by_block=True),
    )
}
# Larger chunks would not leave room for a frame below what Kubo's bitswap takes.
CHUNK_SIZES = (256 * 1024, 512 * 1024, 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Attributes:
    """UnixFS 1.5 metadata of a file; without them its CID depends on the content alone."""

    mode: int | None = None
    mtime_seconds: int | None = None  # since 1970
    mtime_nanoseconds: int = 0


NO_ATTRIBUTES = Attributes()


@dataclass(frozen=True, slots=True)
class BuiltDag:
    """A file's root, its content's size, that of all its blocks, and its inner nodes.

    The nodes stand in the order in which they were finished, the root last; a file of one raw
    chunk has none.
    """

    cid: Cid
    size: int
    tsize: int
    nodes: tuple[tuple[Cid, bytes], ...]


class _Part(NamedTuple):
    cid: Cid
    size: int
    tsize: int


class DagBuilder:
    """Takes the leaves of a file in order; holds a row a level and the nodes already built."""

    def __init__(self, profile: Profile = DEFAULT_PROFILE) -> None:
        self._profile = profile
        self._rows: list[list[_Part]] = []
        self._nodes: list[tuple[Cid, bytes]] = []

    def add(self, leaf_digest: bytes, leaf_size: int) -> None:
        """The next raw leaf: the SHA-256 of the chunk, 32 bytes, and its size."""
        self.add_block(raw_cid(leaf_digest), leaf_size, leaf_size)

    def add_block(self, cid: Cid, size: int, block_size: int) -> None:
        """The next leaf, framed or not: how much content it has, and how large its block is."""
        self._push(0, _Part(cid, size, block_size))

    def finish(self, attributes: Attributes = NO_ATTRIBUTES) -> BuiltDag:
        """The whole file, empty if no leaf came; the builder is of no more use.

        Attributes have no effect on a file of one leaf, which has no node to hold them.
        """
        if not self._rows:
            self.add(hashlib.sha256().digest(), 0)
        level = 0
        while level < len(self._rows) - 1:
            self._push(level + 1, self._node(self._rows[level], NO_ATTRIBUTES))
            level += 1
        top = self._rows[level]
        root = top[0] if len(top) == 1 else self._node(top, attributes)
        return BuiltDag(root.cid, root.size, root.tsize, tuple(self._nodes))

    def _push(self, level: int, part: _Part) -> None:
        """Add to a row; one that is full becomes a node only now that it is not the last."""
        if level == len(self._rows):
            self._rows.append([])
        row = self._rows[level]
        if len(row) == self._profile.width:
            self._push(level + 1, self._node(row, NO_ATTRIBUTES))
            row.clear()
        row.append(part)

    def _node(self, row: list[_Part], attributes: Attributes) -> _Part:
        message = _file_message(b"", [part.size for part in row], attributes)
        block = encode_node([Link(part.cid, b"", part.tsize) for part in row], message)
        cid = node_cid(block, self._profile)
        self._nodes.append((cid, block))
        size = sum(part.size for part in row)
        return _Part(cid, size, len(block) + sum(part.tsize for part in row))


def build_file(
    chunks: Iterable[bytes],
    profile: Profile = DEFAULT_PROFILE,
    attributes: Attributes = NO_ATTRIBUTES,
) -> BuiltDag:
    """A file out of its chunks, each of `profile.chunk_bytes` but the last; holds two at a time."""
    builder = DagBuilder(profile)
    arriving = iter(chunks)
    chunk = next(arriving, b"")
    following = next(arriving, None)
    if following is None and attributes != NO_ATTRIBUTES:
        return _inline_file(chunk, profile, attributes)
    _add_chunk(builder, chunk, profile)
    while following is not None:
        _add_chunk(builder, following, profile)
        following = next(arriving, None)
    return builder.finish(attributes)


def node_cid(block: bytes, profile: Profile) -> Cid:
    """The CID of a dag-pb block in the profile's version."""
    return cid_v0_of(block) if profile.cid_version == 0 else cid_of(DAG_PB, block)


def _add_chunk(builder: DagBuilder, chunk: bytes, profile: Profile) -> None:
    if profile.raw_leaves:
        builder.add(hashlib.sha256(chunk).digest(), len(chunk))
    else:
        block = encode_node([], _file_message(chunk, [], NO_ATTRIBUTES))
        builder.add_block(node_cid(block, profile), len(chunk), len(block))


def _inline_file(chunk: bytes, profile: Profile, attributes: Attributes) -> BuiltDag:
    """A single chunk that needs a node, to hold the attributes."""
    block = encode_node([], _file_message(chunk, [], attributes))
    cid = node_cid(block, profile)
    return BuiltDag(cid, len(chunk), len(block), ((cid, block),))


def _file_message(content: bytes, sizes: Sequence[int], attributes: Attributes) -> bytes:
    """UnixFS's Data message, blocksizes unpacked."""
    message = bytearray((TAG_TYPE, TYPE_FILE))
    if content:
        message += bytes((TAG_DATA,)) + encode_varint(len(content)) + content
    message += bytes((TAG_FILE_SIZE,)) + encode_varint(len(content) + sum(sizes))
    for size in sizes:
        message += bytes((TAG_BLOCK_SIZE,)) + encode_varint(size)
    if attributes.mode is not None:
        message += bytes((TAG_MODE,)) + encode_varint(attributes.mode)
    if attributes.mtime_seconds is not None:
        time = _time_message(attributes.mtime_seconds, attributes.mtime_nanoseconds)
        message += bytes((TAG_MTIME,)) + encode_varint(len(time)) + time
    return bytes(message)


def _time_message(seconds: int, nanoseconds: int) -> bytes:
    message = bytes((_TAG_SECONDS,)) + encode_varint(seconds)
    if nanoseconds:
        message += bytes((_TAG_NANOSECONDS,)) + nanoseconds.to_bytes(_NANOSECONDS_BYTES, "little")
    return message
