"""What a key of the overlay is about, and the rules for the records under it.  Pure.

What such records say, and when they count, is in `records`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from p2pfs.content import dag_cbor
from p2pfs.content.metainfo import LIFETIME_SECONDS, MAX_META_BYTES
from p2pfs.content.tags import MAX_TAG_BYTES, normal_tag
from p2pfs.errors import MalformedError
from p2pfs.network import NODE_ID_BYTES

if TYPE_CHECKING:
    from p2pfs.content.dag_cbor import Value

PROVIDER, TAG, META = "provider", "tag", "meta"
# With the message around it, it fits a datagram of 1,232 bytes.
MAX_PROVIDER_BYTES = 800
# The longest is that of a tag: `["tag", 64 bytes, level, shard]`.
MAX_SUBJECT_BYTES = 80
KEY_BYTES = NODE_ID_BYTES
TAG_LEVELS, TAG_SHARDS = 2, 128  # a hot tag's second level is divided by content

_HOUR = 3_600


@dataclass(frozen=True, slots=True)
class KindRules:
    """The numbers of one kind of record."""

    max_bytes: int
    lifetime_seconds: int
    renew_seconds: tuple[int, int]  # after so long at the earliest and at the latest
    copies: int
    rows_per_key: int


RULES = {
    PROVIDER: KindRules(MAX_PROVIDER_BYTES, LIFETIME_SECONDS, (8 * _HOUR, 11 * _HOUR), 20, 256),
    TAG: KindRules(MAX_META_BYTES, LIFETIME_SECONDS, (11 * _HOUR, 11 * _HOUR), 8, 1_000),
    META: KindRules(MAX_META_BYTES, LIFETIME_SECONDS, (11 * _HOUR, 11 * _HOUR), 8, 64),
}
CHUNK_COPIES = 8


@dataclass(frozen=True)  # no slots: the key is kept
class Subject:
    """What a key is about: content (its multihash) or a tag; made by the functions below."""

    kind: str
    parts: tuple[bytes | str | int, ...]

    def encode(self) -> bytes:
        """Canonical DAG-CBOR of `[kind, subject…]`; its hash is the key."""
        return dag_cbor.encode([self.kind, *self.parts])

    @cached_property
    def key(self) -> bytes:
        """Where in the overlay it belongs: 20 bytes."""
        return key_of(self.encode())

    @property
    def rules(self) -> KindRules:
        return RULES[self.kind]


def key_of(encoded: bytes) -> bytes:
    """The key of an encoded subject."""
    return hashlib.sha256(encoded).digest()[:KEY_BYTES]


def provider_subject(multihash: bytes) -> Subject:
    """Who has a content; raises MalformedError for any hash but SHA-256, as of an identity CID."""
    return Subject(PROVIDER, (checked_multihash(multihash),))


def meta_subject(multihash: bytes) -> Subject:
    """What publishers say of a content; raises MalformedError as `provider_subject`."""
    return Subject(META, (checked_multihash(multihash),))


def tag_subject(tag: str, level: int = 0, shard: int = 0) -> Subject:
    """What is published under a tag in normal form, at level 0, or a shard of level 1."""
    if len(tag) > MAX_TAG_BYTES or normal_tag(tag) != tag:
        raise MalformedError("a tag that is not in normal form")
    if not 0 <= level < TAG_LEVELS or not 0 <= shard < (TAG_SHARDS if level else 1):
        raise MalformedError(f"there is no shard {shard} of level {level}")
    return Subject(TAG, (tag, level, shard))


def tag_shard(multihash: bytes) -> int:
    """The shard of a tag's level 1 where a root belongs."""
    return hashlib.sha256(multihash).digest()[0] % TAG_SHARDS


def shard_subject(tag: Subject, multihash: bytes) -> Subject:
    """Where a root is found under a tag whose level 0 is full."""
    return tag_subject(str(tag.parts[0]), 1, tag_shard(multihash))


def parse_subject(raw: bytes) -> Subject:
    """A subject out of its encoding; raises MalformedError."""
    if len(raw) > MAX_SUBJECT_BYTES:
        raise MalformedError("a subject that is too long")
    return subject_of(dag_cbor.decode(raw))


def subject_of(value: Value) -> Subject:
    """A subject out of the unchecked list that `encode` writes; raises MalformedError."""
    match value:
        case ["provider", bytes() as multihash]:
            return provider_subject(multihash)
        case ["meta", bytes() as multihash]:
            return meta_subject(multihash)
        case ["tag", str() as tag, int() as level, int() as shard]:
            if isinstance(level, bool) or isinstance(shard, bool):
                raise MalformedError("a level and a shard are numbers")
            return tag_subject(tag, level, shard)
    raise MalformedError("a subject of no known kind")


def checked_multihash(value: object) -> bytes:
    """A SHA-256: what has an identity CID is in the id itself, and need not be found."""
    if not isinstance(value, bytes) or value[:2] != b"\x12\x20" or len(value) != 34:  # noqa: PLR2004
        raise MalformedError("a multihash is that of a SHA-256")
    return value
