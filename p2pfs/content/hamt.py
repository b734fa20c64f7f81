"""Sharded UnixFS directories (HAMTs): building them, and the way through their shards.

Pure: what a shard's block says is for `unixfs`, fetching shards for `library.resolving`.
The format is https://specs.ipfs.tech/unixfs/#dag-pb-hamtdirectory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.balanced import node_cid
from p2pfs.content.cid import Cid
from p2pfs.content.dag_pb import Link, encode_node
from p2pfs.content.murmur3 import murmur3_x64_64
from p2pfs.content.unixfs import (
    HASH_MURMUR3_X64_64,
    MAX_DIRECTORY_LINKS,
    TAG_DATA,
    TAG_FANOUT,
    TAG_HASH_TYPE,
    TAG_TYPE,
    TYPE_HAMT_SHARD,
    Entry,
    ShardNode,
)
from p2pfs.content.varint import encode_varint
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from p2pfs.content.balanced import Profile

# As many entries of the longest names need half of it; parts of 2 MiB each would be endless.
MAX_LISTED_BYTES = 32 * 1024 * 1024
# As every known writer does.
_FANOUT = 256
_FANOUT_BITS = 8
_HASH_BITS = 64


class Way(NamedTuple):
    """How a shard is reached: the hash of each name below it begins with these bits."""

    bits: int = 0
    value: int = 0


ROOT = Way()


class Below(NamedTuple):
    """A shard to fetch, and the way to it."""

    cid: Cid
    way: Way


class BuiltShards(NamedTuple):
    """All shards, the root last, and the bytes of them and all below."""

    shards: tuple[tuple[Cid, bytes], ...]
    tsize: int


def find(shard: ShardNode, way: Way, name: str) -> Entry | Below | None:
    """The entry, the shard where it would be, or None; raises MalformedError if too deep.

    A name that no UTF-8 spells is in no directory.
    """
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        return None
    width = _width(shard, way)
    index = murmur3_x64_64(raw) >> (_HASH_BITS - way.bits - width) & (shard.fanout - 1)
    child = shard.children.get(index)
    if isinstance(child, Cid):
        return _below(child, way, width, index)
    return child if child is not None and child.name == name else None


class Gathering:
    """A sharded directory's entries while its shards come in, in any order.

    Every name must lie where its hash leads, else a lookup and a listing would disagree; so none
    comes twice, and no shard can be shared.  Empty shards below the root could be shared without
    end: they are refused.  How much is taken in all is bounded by entries, shards and bytes.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._shards: set[bytes] = set()
        self._bytes = 0

    def add(self, shard: ShardNode, way: Way) -> list[Below]:
        """Take the entries of a shard; what is to be fetched next.  Raises MalformedError."""
        width = _width(shard, way)
        self._count(shard)
        lower = []
        for index, child in shard.children.items():
            if isinstance(child, Cid):
                lower.append(self._new(_below(child, way, width, index)))
                continue
            begins = murmur3_x64_64(child.name.encode()) >> (_HASH_BITS - way.bits - width)
            if begins != way.value << width | index:
                raise MalformedError(f"{child.name!r} is not where its hash leads")
            self._entries.append(child)
        if len(self._entries) > MAX_DIRECTORY_LINKS or len(self._shards) > MAX_DIRECTORY_LINKS:
            raise MalformedError(f"a directory of more than {MAX_DIRECTORY_LINKS} entries")
        return lower

    def entries(self) -> tuple[Entry, ...]:
        """Those taken so far, sorted as a plain directory's are."""
        return tuple(sorted(self._entries, key=lambda entry: entry.name.encode()))

    def _count(self, shard: ShardNode) -> None:
        self._bytes += shard.block_bytes
        if self._bytes > MAX_LISTED_BYTES:
            raise MalformedError(f"a directory of more than {MAX_LISTED_BYTES} bytes")

    def _new(self, below: Below) -> Below:
        if below.cid.multihash in self._shards:
            raise MalformedError(f"shard {below.cid} is in a directory twice")
        self._shards.add(below.cid.multihash)
        return below


def checked_part(shard: object, of: ShardNode) -> ShardNode:
    """What was fetched for a `Below`, if it can be a part of that directory, or MalformedError."""
    if not isinstance(shard, ShardNode) or shard.fanout != of.fanout or not shard.children:
        raise MalformedError("a sharded directory with a part that is no shard of it")
    return shard


def build_shards(links: Iterable[Link], profile: Profile) -> BuiltShards:
    """The shards of a directory; raises MalformedError if two names have one hash."""
    shards: list[tuple[Cid, bytes]] = []
    hashed = [(murmur3_x64_64(link.name), link) for link in links]
    _, tsize = _build(hashed, 0, profile, shards)
    return BuiltShards(tuple(shards), tsize)


def _build(
    hashed: Sequence[tuple[int, Link]], bits: int, profile: Profile, shards: list[tuple[Cid, bytes]]
) -> tuple[Cid, int]:
    if bits == _HASH_BITS:
        raise MalformedError("two names with one hash")
    slots: dict[int, list[tuple[int, Link]]] = {}
    for one in hashed:
        index = one[0] >> (_HASH_BITS - bits - _FANOUT_BITS) & (_FANOUT - 1)
        slots.setdefault(index, []).append(one)
    links = []
    field = 0
    for index, inside in sorted(slots.items()):
        field |= 1 << index
        prefix = b"%02X" % index
        if len(inside) == 1:
            link = inside[0][1]
            links.append(Link(link.cid, prefix + link.name, link.tsize))
        else:
            cid, tsize = _build(inside, bits + _FANOUT_BITS, profile, shards)
            links.append(Link(cid, prefix, tsize))
    block = encode_node(links, _message(field))
    shards.append((node_cid(block, profile), block))
    return shards[-1][0], len(block) + sum(link.tsize for link in links)


def _message(field: int) -> bytes:
    """UnixFS's Data message; the bit field is big-endian, without leading zeros."""
    taken = field.to_bytes((field.bit_length() + 7) // 8, "big")
    return b"".join(
        (
            bytes((TAG_TYPE, TYPE_HAMT_SHARD, TAG_DATA)),
            encode_varint(len(taken)),
            taken,
            bytes((TAG_HASH_TYPE, HASH_MURMUR3_X64_64, TAG_FANOUT)),
            encode_varint(_FANOUT),
        )
    )


def _width(shard: ShardNode, way: Way) -> int:
    """How many bits of the hash a shard's index takes."""
    width = shard.fanout.bit_length() - 1
    if way.bits + width > _HASH_BITS:
        raise MalformedError("a sharded directory deeper than its hash is long")
    return width


def _below(cid: Cid, way: Way, width: int, index: int) -> Below:
    return Below(cid, Way(way.bits + width, way.value << width | index))
