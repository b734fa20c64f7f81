"""What is stored under a key of the overlay: records, and when they count.  Pure.

What a key is about is in `subjects`.  Where records lie is for `recordstore`, which node is asked
for them for `kad`; how many of them travel at once, in `recordpages`.  A record's value means
nothing before `verified` has seen it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from p2pfs.addresses import encode_addresses, parse_addresses
from p2pfs.content import signedmap
from p2pfs.content.metainfo import (
    LIFETIME_SECONDS,
    SKEW_SECONDS,
    MetaInfo,
    UntimelyError,
    has_expired,
    parse_meta,
)
from p2pfs.dht.subjects import (
    MAX_PROVIDER_BYTES,
    META,
    PROVIDER,
    TAG,
    Subject,
    checked_multihash,
    meta_subject,
    provider_subject,
    tag_shard,
    tag_subject,
)
from p2pfs.errors import MalformedError
from p2pfs.network import PUBLIC_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from p2pfs.addresses import Endpoint
    from p2pfs.content.dag_cbor import Value
    from p2pfs.network import Network

PROVIDER_DOMAIN = "p2pfs-provider-1"
MAX_MULTIHASHES = 16
MAX_PROVIDER_ADDRESSES = 4
DIGEST_BYTES = 8

_TIME_BITS = 63


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
    multihashes = tuple(dict.fromkeys(checked_multihash(multihash) for multihash in listed))
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
