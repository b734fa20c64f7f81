"""Records of publishers that run no node, stored as any stranger may store them: docs/wire.md.

Everything is signed as it is, also what `create_meta` would refuse: honest nodes must cope.
"""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import TYPE_CHECKING

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pfs.addresses import Endpoint, encode_addresses
from p2pfs.content import signedmap
from p2pfs.content.cid import raw_cid
from p2pfs.content.dag_cbor import Link
from p2pfs.content.metainfo import DOMAIN, parse_meta
from p2pfs.dht.recordpages import encode_batches
from p2pfs.dht.subjects import shard_subject, tag_subject
from p2pfs.identity import load_identity
from p2pfs.network import public_network
from p2pfs.peers.client import open_client
from tools.testbed import NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from p2pfs.content.dag_cbor import Value
    from p2pfs.dht.subjects import Subject
    from tools.testbed import Node

_HOUR = 3_600
_ADDRESS = Endpoint("127.0.0.1", 7117)


def publisher(number: int) -> Ed25519PrivateKey:
    """One of the identities, the same for the same number."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % number).digest())


def signed_meta(key: Ed25519PrivateKey, content: bytes, **fields: Value) -> bytes:
    """What `key` says of a content, signed whatever it says; `fields` replace the harmless ones."""
    harmless: dict[str, Value] = {
        "cid": Link(raw_cid(hashlib.sha256(content).digest()).encode()),
        "name": "file.txt",
        "size": len(content),
        "crc32": 0,
        "mime": "text/plain",
        "tags": [],
        "publisher": key.public_key().public_bytes_raw(),
        "at": encode_addresses([_ADDRESS]),
        "seq": int(time.time() * 1000),
        "expires": int(time.time()) + _HOUR,
    }
    return signedmap.encode_signed({**harmless, **fields}, key, DOMAIN, public_network(NETWORK))


def store(tag: str, values: Iterable[bytes], nodes: Sequence[Node]) -> list[int]:
    """POST records under a tag to each of the nodes; how many each says it keeps."""
    return store_under(((tag_subject(tag), value) for value in values), nodes)


def store_in_shards(tag: str, values: Iterable[bytes], nodes: Sequence[Node]) -> list[int]:
    """The same at the tag's second level."""
    network, now = public_network(NETWORK), int(time.time())
    metas = (parse_meta(value, network, now) for value in values)
    shards = ((shard_subject(tag_subject(tag), each.cid.multihash), each) for each in metas)
    return store_under(((subject, meta.encoded) for subject, meta in shards), nodes)


def store_under(records: Iterable[tuple[Subject, bytes]], nodes: Sequence[Node]) -> list[int]:
    """POST records to each of the nodes; how many each says it keeps."""
    return trio.run(_store, encode_batches(records), nodes)


async def _store(batches: Sequence[bytes], nodes: Sequence[Node]) -> list[int]:
    kept = [0] * len(nodes)
    async with open_client() as client:

        async def post(number: int, node: Node) -> None:
            own = load_identity(node.home / "data" / "identity.key", public_network(NETWORK))
            assert own is not None, f"the node in {node.home} has no key"  # noqa: S101 it has started
            for batch in batches:
                address = Endpoint(node.ip, node.port)
                kept[number] += sum(await client.post_records(own.public_key, address, batch))

        async with trio.open_nursery() as nursery:
            for number, node in enumerate(nodes):
                nursery.start_soon(partial(post, number, node))
    return kept
