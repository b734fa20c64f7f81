"""Small DAGs for tests: any layout, as a dict of blocks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from p2pfs.content.balanced import Profile, build_file
from p2pfs.content.cid import DAG_PB, RAW, Cid, cid_of, raw_cid
from p2pfs.content.dag_pb import Link, encode_node
from p2pfs.content.unixfs import FileNode, parse_file
from p2pfs.content.varint import encode_varint
from p2pfs.content.walk import Want, walk
from tests.content.vectors import cut


@dataclass
class Dag:
    """Blocks by CID; `met` lists what was asked for."""

    root: Cid
    size: int
    blocks: dict[Cid, bytes] = field(default_factory=dict)
    met: list[Cid] = field(default_factory=list)

    def lookup(self, cid: Cid) -> FileNode | None:
        self.met.append(cid)
        block = self.blocks.get(cid)
        return None if block is None else parse_file(cid, block)


def balanced(content: bytes, chunk_bytes: int = 16, width: int = 3) -> Dag:
    """What p2pfs itself publishes, with chunks small enough for a deep tree."""
    chunks = cut(content, chunk_bytes)
    built = build_file(chunks, Profile("tiny", chunk_bytes, width))
    blocks = dict(built.nodes)
    for chunk in chunks or [b""]:
        blocks[raw_cid(hashlib.sha256(chunk).digest())] = chunk
    return Dag(built.cid, built.size, blocks)


def trickle(content: bytes) -> Dag:
    """Content in every node, children after it: framed leaves, and own content before children."""
    blocks: dict[Cid, bytes] = {}

    def grow(content: bytes) -> Cid:
        own, rest = content[:7], content[7:]
        parts = cut(rest, max(1, -(-len(rest) // 3)))
        block = file_block(own, [(grow(part), len(part)) for part in parts])
        cid = cid_of(DAG_PB, block)
        blocks[cid] = block
        return cid

    return Dag(grow(content), len(content), blocks)


def file_block(
    own: bytes, children: list[tuple[Cid, int]], *, file_size: int | None = None
) -> bytes:
    """A file node that need not be right."""
    size = len(own) + sum(size for _, size in children) if file_size is None else file_size
    message = b"\x08\x02"
    if own:
        message += b"\x12" + encode_varint(len(own)) + own
    message += b"\x18" + encode_varint(size)
    message += b"".join(b"\x20" + encode_varint(size) for _, size in children)
    return encode_node([Link(cid, b"", size) for cid, size in children], message)


def wants(dag: Dag, start: int, stop: int | None, size: int | None = None) -> list[Want]:
    """Every block that a walk asks for, as a driver that has them all sees it."""
    met: list[Want] = []
    steps = walk(dag.root, size, start, stop)
    node: FileNode | None = None
    while True:
        try:
            want = steps.send(node)
        except StopIteration:
            return met
        met.append(want)
        raw = want.cid.codec == RAW
        node = None if raw else parse_file(want.cid, dag.blocks[want.cid])
