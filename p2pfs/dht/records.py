"""What is stored under a key of the overlay: subjects, records, the rules of each kind.  Pure.

Where records lie is for `recordstore`, which node is asked for them for `kad`; how many of them
travel at once, in `recordpages`.  A record's value means nothing before `verified` has seen it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from p2pfs.addresses import encode_addresses, parse_addresses
from p2pfs.content import dag_cbor, signedmap
from p2pfs.content.metainfo import (
    LIFETIME_SECONDS,
    MAX_META_BYTES,
    SKEW_SECONDS,
    MetaInfo,
    UntimelyError,
    has_expired,
    parse_meta,
)
from p2pfs.content.tags import MAX_TAG_BYTES, normal_tag
from p2pfs.errors import MalformedError
from p2pfs.network import NODE_ID_BYTES, PUBLIC_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from p2pfs.addresses import Endpoint
    from p2pfs.content.dag_cbor import Value
    from p2pfs.network import Network

PROVIDER, TAG, META = "provider", "tag", "meta"
PROVIDER_DOMAIN = "p2pfs-provider-1"
# With the message around it, it fits a datagram of 1,232 bytes.
MAX_PROVIDER_BYTES = 800
MAX_MULTIHASHES = 16
MAX_PROVIDER_ADDRESSES = 4
# The longest is that of a tag: `["tag", 64 bytes, level, shard]`.
MAX_SUBJECT_BYTES = 80
KEY_BYTES = NODE_ID_BYTES
DIGEST_BYTES = 8
TAG_LEVELS, TAG_SHARDS = 2, 128  # a hot tag's second level is divided by content

_HOUR = 3_600
_TIME_BITS = 63


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
    return Subject(PROVIDER, (_checked_multihash(multihash),))


def meta_subject(multihash: bytes) -> Subject:
    """What publishers say of a content; raises MalformedError as `provider_subject`."""
    return Subject(META, (_checked_multihash(multihash),))


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


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """A publisher's signed word that it has some contents, and where it is."""

    publisher: bytes
    addresses: tuple[Endpoint, ...]
    multihashes: tuple[bytes, ...]
    expires: int
    encoded: bytes
    direct_ips: frozenset[str]
    only_relays: bool

    def may_come_from(self, ip: str) -> bool:
        """Whether a node at this canonical IP may store it: only its publisher, where it is."""
        return ip in self.direct_ips or self.only_relays


def create_provider_record(
    multihashes: Sequence[bytes],
    addresses: Sequence[Endpoint],
    expires: int,
    key: Ed25519PrivateKey,
    network: Network,
) -> ProviderRecord:
    """Sign for the first of `multihashes` (in key order, adjacent), as many as fit.

    Of the addresses the first four are named.
    """
    kept = list(multihashes[:MAX_MULTIHASHES])
    fields: dict[str, Value] = {
        "publisher": key.public_key().public_bytes_raw(),
        "at": encode_addresses(addresses[:MAX_PROVIDER_ADDRESSES]),
        "multihashes": kept,
        "expires": expires,
    }
    while len(kept) > 1 and signedmap.signed_length(fields) > MAX_PROVIDER_BYTES:
        kept.pop()
    return parse_provider_record(
        signedmap.encode_signed(fields, key, PROVIDER_DOMAIN, network), network
    )


def parse_provider_record(raw: bytes, network: Network) -> ProviderRecord:
    """All but its time checked, the signature included; raises MalformedError."""
    fields = signedmap.parse_signed(raw, PROVIDER_DOMAIN, network, MAX_PROVIDER_BYTES)
    listed = signedmap.list_field(fields, "multihashes", MAX_MULTIHASHES)
    multihashes = tuple(dict.fromkeys(_checked_multihash(multihash) for multihash in listed))
    if len(multihashes) != len(listed) or not multihashes:
        raise MalformedError("'multihashes' are distinct, and at least one")
    at = parse_addresses(fields.get("at"), MAX_PROVIDER_ADDRESSES)
    return ProviderRecord(
        publisher=signedmap.bytes_field(fields, "publisher", PUBLIC_KEY_BYTES),
        addresses=at.https,
        multihashes=multihashes,
        expires=signedmap.int_field(fields, "expires", _TIME_BITS),
        encoded=raw,
        direct_ips=at.direct_ips,
        only_relays=at.only_relays,
    )


Said: TypeAlias = ProviderRecord | MetaInfo


@dataclass(frozen=True, slots=True)
class Record:
    """A verified value under a key.

    Under one key there is one record a `slot`, that of the highest `rank`; `digest` names a value.
    """

    subject: Subject
    value: bytes
    publisher: bytes
    expires: int
    rank: int
    slot: bytes
    contents: int = 1  # how many a provider record is about

    @property
    def digest(self) -> bytes:
        """8 bytes, to say what one has without sending it."""
        return value_digest(self.value)


def value_digest(value: bytes) -> bytes:
    """The first 8 bytes of a value's SHA-256."""
    return hashlib.sha256(value).digest()[:DIGEST_BYTES]


def verified(subject: Subject, value: bytes, network: Network, now: int) -> Said:
    """What a value says, if it may stand under this subject now.

    Raises MalformedError; UntimelyError for what may be right by another clock.
    """
    check = verified_provider if subject.kind == PROVIDER else verified_meta
    return check(subject, value, network, now)


def verified_provider(subject: Subject, value: bytes, network: Network, now: int) -> ProviderRecord:
    """The provider record of that content; raises MalformedError."""
    record = parse_provider_record(value, network)
    if record.expires > now + LIFETIME_SECONDS + SKEW_SECONDS or has_expired(record.expires, now):
        raise UntimelyError("a provider record that has expired, or lives too long")
    if subject.kind != PROVIDER or subject.parts[0] not in record.multihashes:
        raise MalformedError("a provider record that is about something else")
    return record


def verified_meta(subject: Subject, value: bytes, network: Network, now: int) -> MetaInfo:
    """The meta-info under that tag, word or root; raises MalformedError."""
    meta = parse_meta(value, network, now)
    if not _mentions(meta, subject):
        raise MalformedError("a meta-info that is about something else")
    return meta


def record_of(subject: Subject, said: Said) -> Record:
    """The record that a verified value is."""
    about = subject, said.encoded, said.publisher, said.expires
    if isinstance(said, ProviderRecord):
        return Record(*about, said.expires, said.publisher, len(said.multihashes))
    return Record(*about, said.seq, said.publisher + said.cid.multihash)


def verified_record(subject: Subject, value: bytes, network: Network, now: int) -> Record:
    """A value from the network as a record under a subject; raises MalformedError."""
    return record_of(subject, verified(subject, value, network, now))


def subjects_of(said: Said) -> tuple[Subject, ...]:
    """Everything it is stored under."""
    if isinstance(said, ProviderRecord):
        return tuple(map(provider_subject, said.multihashes))
    return (meta_subject(said.cid.multihash), *map(tag_subject, said.index_tags))


def _mentions(meta: MetaInfo, subject: Subject) -> bool:
    if subject.kind == META:
        return subject == meta_subject(meta.cid.multihash)
    if subject.kind != TAG:
        return False
    tag, level, shard = subject.parts
    is_in_shard = not level or shard == tag_shard(meta.cid.multihash)
    return is_in_shard and meta.is_under(str(tag))


def _checked_multihash(value: object) -> bytes:
    """A SHA-256: what has an identity CID is in the id itself, and need not be found."""
    if not isinstance(value, bytes) or value[:2] != b"\x12\x20" or len(value) != 34:  # noqa: PLR2004
        raise MalformedError("a multihash is that of a SHA-256")
    return value
