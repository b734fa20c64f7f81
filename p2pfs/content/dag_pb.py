"""dag-pb, the protobuf of IPFS nodes: links and a data field, byte for byte.

What the data field means is known to `unixfs`.  Hand-written against
https://ipld.io/specs/codecs/dag-pb/spec/: in an encoding the links come before the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p2pfs.content.cid import MAX_BLOCK_BYTES, Cid, read_cid
from p2pfs.content.varint import encode_varint, read_extent, read_varint
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Protobuf tags: field number << 3 | wire type (0 varint, 2 length-delimited).
_NODE_DATA = 0x0A
_NODE_LINK = 0x12
_LINK_HASH = 0x0A
_LINK_NAME = 0x12
_LINK_TSIZE = 0x18


class Link(NamedTuple):
    """A child: its CID, its name as UTF-8, and the bytes of all blocks below and with it.

    The sizes are whatever the node's author wrote: nobody checks them.
    """

    cid: Cid
    name: bytes
    tsize: int


class Node(NamedTuple):
    """A parsed node; its data field is `block[data_at:data_end]`, empty if there is none."""

    links: list[Link]
    data_at: int
    data_end: int


def encode_node(links: Iterable[Link], data: bytes) -> bytes:
    """The canonical block; links are written in the order given."""
    encoded = bytearray()
    for link in links:
        hash_ = link.cid.encode()
        body = b"".join(
            (
                bytes((_LINK_HASH,)),
                encode_varint(len(hash_)),
                hash_,
                bytes((_LINK_NAME,)),
                encode_varint(len(link.name)),
                link.name,
                bytes((_LINK_TSIZE,)),
                encode_varint(link.tsize),
            )
        )
        encoded += bytes((_NODE_LINK,)) + encode_varint(len(body)) + body
    return bytes(encoded) + bytes((_NODE_DATA,)) + encode_varint(len(data)) + data


def parse_node(block: bytes, max_links: int) -> Node:
    """The node in a block; raises MalformedError.

    The data may come before the links, as old encoders wrote it; all else is as the
    specification has it: known fields only, each once, in order, the links side by side.
    """
    if len(block) > MAX_BLOCK_BYTES:
        raise MalformedError(f"a block of {len(block)} bytes")
    links: list[Link] = []
    data: tuple[int, int] | None = None
    links_ended = False
    at, end = 0, len(block)
    while at < end:
        tag = block[at]
        start, at = read_extent(block, at + 1, end)
        if tag == _NODE_LINK:
            if links_ended or len(links) == max_links:
                raise MalformedError(f"links in two places, or more than {max_links}")
            links.append(_parse_link(block, start, at))
        elif tag == _NODE_DATA and data is None:
            data = start, at
            links_ended = bool(links)
        else:
            raise MalformedError(f"field {tag:#x} does not belong in a dag-pb node here")
    return Node(links, *(data or (end, end)))


def _parse_link(block: bytes, at: int, end: int) -> Link:
    cid = None
    name = b""
    tsize = last_tag = 0
    while at < end:
        tag = block[at]
        if tag <= last_tag:
            raise MalformedError("fields of a dag-pb link out of order, or twice")
        last_tag = tag
        if tag == _LINK_TSIZE:
            tsize, at = read_varint(block, at + 1, end)
            continue
        start, at = read_extent(block, at + 1, end)
        if tag == _LINK_HASH:
            cid, after = read_cid(block[start:at], 0)
            if after != at - start:
                raise MalformedError("a link's CID goes on after its end")
        elif tag == _LINK_NAME:
            name = block[start:at]
        else:
            raise MalformedError(f"field {tag:#x} does not belong in a dag-pb link")
    if cid is None:
        raise MalformedError("a link without a CID")
    return Link(cid, name, tsize)
