"""Meta-info: what its publisher says of one published file, signed.  At most 1,024 bytes.

How a signed map is encoded lives in `signedmap`, how tags are spelt in `tags`, where a meta-info
is stored in `dht.records`.  Nothing in one can be believed but that its publisher said so.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.addresses import encode_addresses, parse_addresses
from p2pfs.content import signedmap
from p2pfs.content.cid import read_cid
from p2pfs.content.dag_cbor import Link
from p2pfs.content.tags import (
    MAX_TAG_BYTES,
    TITLE,
    WORD,
    by_importance,
    normal_tag,
    word_tags,
    words,
)
from p2pfs.errors import MalformedError
from p2pfs.network import PUBLIC_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from p2pfs.addresses import Endpoint
    from p2pfs.content.cid import Cid
    from p2pfs.content.dag_cbor import Value
    from p2pfs.network import Network

DOMAIN = "p2pfs-meta-1"
# Beside it, a datagram of 1,232 bytes holds the subject, a token and the message around them.
MAX_META_BYTES = 1_024
MAX_NAME_BYTES = 255  # as file systems have it
MAX_MIME_BYTES = 64
MAX_TAGS = 16
MAX_ADDRESSES = 2
LIFETIME_SECONDS = 24 * 3_600
# How far two honest clocks may be apart.
SKEW_SECONDS = 5 * 60

# A withdrawal repeats what it takes back, and must fit too: `"withdrawn": true`.
_WITHDRAWN_BYTES = 11
_WORD_PREFIX = f"{WORD}:"
# ".tar.gz" and the like are shorter; what is longer is no extension.
_MAX_ENDING_BYTES = 16
_SIZE_BITS = 63  # what a file offset holds
_CRC32_BITS = 32
_TIME_BITS = 63
_MILLISECONDS = 1_000


class UntimelyError(MalformedError):
    """Signed for another time than it is here, by this node's clock.

    Whoever passes it on may have another clock, and is no liar for that.
    """


@dataclass(frozen=True, slots=True)
class Description:
    """What a publisher has to say of a file; `tags` in any order and number, in normal form."""

    cid: Cid
    name: str
    size: int
    crc32: int
    mime: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MetaInfo:
    """A signed description.  Of one publisher and CID the one with the highest `seq` counts.

    `seq` is in milliseconds, `expires` in seconds; `encoded` is all of it, with what this version
    does not know.
    """

    cid: Cid
    name: str
    size: int
    crc32: int
    mime: str
    tags: tuple[str, ...]
    publisher: bytes
    at: tuple[Endpoint, ...]
    seq: int
    withdrawn: bool
    expires: int
    encoded: bytes

    @property
    def title(self) -> str:
        """The title in its tag, in normal form; empty if there is none."""
        prefix = f"{TITLE}:"
        return next((tag.removeprefix(prefix) for tag in self.tags if tag.startswith(prefix)), "")

    @property
    def index_tags(self) -> tuple[str, ...]:
        """Every tag it is stored under: its own, and those of its words."""
        return tuple(dict.fromkeys((*self.tags, *word_tags(words(self.name, self.title)))))

    def is_under(self, tag: str) -> bool:
        """Whether a tag in normal form is one of `index_tags`, of which words cost more to find."""
        return tag in (self.index_tags if tag.startswith(_WORD_PREFIX) else self.tags)


def create_meta(
    description: Description,
    at: Sequence[Endpoint],
    seq: int,
    expires: int,
    key: Ed25519PrivateKey,
    network: Network,
) -> MetaInfo:
    """Sign a description; raises MalformedError for one that cannot be published.

    Of too many tags those are dropped that `tags.by_importance` says, of addresses the last.
    """
    fields: dict[str, Value] = {
        "cid": Link(description.cid.encode()),
        "name": published_name(description.name),
        "size": description.size,
        "crc32": description.crc32,
        "mime": description.mime,
        "publisher": key.public_key().public_bytes_raw(),
        "at": encode_addresses(at[:MAX_ADDRESSES]),
        "seq": seq,
        "expires": expires,
    }
    kept = list(by_importance(description.tags, description.name))[:MAX_TAGS]
    fields["tags"] = sorted(kept)
    while kept and signedmap.signed_length(fields) > MAX_META_BYTES - _WITHDRAWN_BYTES:
        kept.pop()
        fields["tags"] = sorted(kept)
    return _signed(fields, key, network)


def withdraw_meta(meta: MetaInfo, seq: int, key: Ed25519PrivateKey, network: Network) -> MetaInfo:
    """Take back what was published: the same, marked, with a higher `seq`, until it had expired."""
    fields = signedmap.parse_signed(meta.encoded, DOMAIN, network, MAX_META_BYTES)
    return _signed({**fields, "seq": seq, "withdrawn": True}, key, network)


def next_seq(accepted: int | None, now_milliseconds: int) -> int:
    """The `seq` after the last one that another node accepted."""
    return now_milliseconds if accepted is None else max(accepted + 1, now_milliseconds)


def parse_meta(raw: bytes, network: Network, now: int) -> MetaInfo:
    """A meta-info from the network, all limits and the signature checked, and then its times.

    Raises MalformedError, for times UntimelyError.
    """
    meta = parse_kept_meta(raw, network)
    if meta.expires > now + LIFETIME_SECONDS + SKEW_SECONDS:
        raise UntimelyError("a meta-info that lives too long")
    if has_expired(meta.expires, now):
        raise UntimelyError("a meta-info that has expired")
    if meta.seq > (now + SKEW_SECONDS) * _MILLISECONDS:
        raise UntimelyError("a meta-info from the future")
    return meta


def parse_kept_meta(raw: bytes, network: Network) -> MetaInfo:
    """A meta-info from this node's own disk: as `parse_meta`, but it may have expired since."""
    return _checked(signedmap.parse_signed(raw, DOMAIN, network, MAX_META_BYTES), raw)


def has_expired(expires: int, now: int) -> bool:
    """Whether a signed thing is over, with what two clocks may differ."""
    return expires + SKEW_SECONDS <= now


def published_name(name: str) -> str:
    """A file's name as it is published; raises MalformedError for what no file can be called.

    NFC; bytes that were no UTF-8 (surrogates in `name`) are U+FFFD; a name that this makes longer
    than a name can be is cut before its extension.
    """
    valid = "".join("\ufffd" if _is_surrogate(character) else character for character in name)
    composed = unicodedata.normalize("NFC", valid)
    if len(composed.encode()) > MAX_NAME_BYTES:
        stem, dot, extension = composed.rpartition(".")
        ending = (dot + extension).encode()
        if not stem or len(ending) > _MAX_ENDING_BYTES:
            stem, ending = composed, b""
        composed = _cut(stem, MAX_NAME_BYTES - len(ending)) + ending.decode()
    return _checked_name(composed)


def _signed(fields: Mapping[str, Value], key: Ed25519PrivateKey, network: Network) -> MetaInfo:
    """Sign, and hold what was made against the rules for what others make."""
    encoded = signedmap.encode_signed(fields, key, DOMAIN, network)
    return parse_kept_meta(encoded, network)


def _checked(fields: Mapping[str, Value], raw: bytes) -> MetaInfo:
    withdrawn = fields.get("withdrawn")
    if "withdrawn" in fields and withdrawn is not True:
        raise MalformedError("'withdrawn' is true or not there")
    return MetaInfo(
        cid=_cid_field(fields),
        name=_checked_name(signedmap.text_field(fields, "name", MAX_NAME_BYTES)),
        size=signedmap.int_field(fields, "size", _SIZE_BITS),
        crc32=signedmap.int_field(fields, "crc32", _CRC32_BITS),
        mime=_mime_field(fields),
        tags=_tags_field(fields),
        publisher=signedmap.bytes_field(fields, "publisher", PUBLIC_KEY_BYTES),
        at=parse_addresses(fields.get("at"), MAX_ADDRESSES).https,
        seq=signedmap.int_field(fields, "seq", _TIME_BITS),
        withdrawn=withdrawn is True,
        expires=signedmap.int_field(fields, "expires", _TIME_BITS),
        encoded=raw,
    )


def _cid_field(fields: Mapping[str, Value]) -> Cid:
    link = fields.get("cid")
    if not isinstance(link, Link):
        raise MalformedError("'cid' is a link")
    cid, end = read_cid(link.cid, 0)
    if end != len(link.cid) or cid.is_identity:
        raise MalformedError("'cid' is one CID, of a SHA-256")
    return cid


def _checked_name(name: str) -> str:
    if not name or "/" in name or "\0" in name or not unicodedata.is_normalized("NFC", name):
        raise MalformedError("'name' is NFC, not empty, without `/` and NUL")
    return name


def _mime_field(fields: Mapping[str, Value]) -> str:
    mime = signedmap.text_field(fields, "mime", MAX_MIME_BYTES)
    if not mime.isascii() or not mime.isprintable():
        raise MalformedError("'mime' is printable ASCII")
    return mime


def _tags_field(fields: Mapping[str, Value]) -> tuple[str, ...]:
    tags = signedmap.list_field(fields, "tags", MAX_TAGS)
    last = ""
    for tag in tags:
        if not isinstance(tag, str) or len(tag) > MAX_TAG_BYTES or normal_tag(tag) != tag:
            raise MalformedError("a tag that is not in normal form")
        if tag <= last:
            raise MalformedError("'tags' are sorted and distinct")
        last = tag
    return tuple(str(tag) for tag in tags)


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _cut(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode(errors="ignore")
