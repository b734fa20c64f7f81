"""Signed maps: canonical DAG-CBOR whose `sig` covers the rest.  What they say belongs elsewhere.

Keys that this version does not know are kept and covered by the signature, so that later versions
can say more to those who understand it; a `v` that it does not know is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.content import dag_cbor
from p2pfs.errors import MalformedError
from p2pfs.network import PUBLIC_KEY_BYTES, SIGNATURE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from p2pfs.content.dag_cbor import Value
    from p2pfs.network import Network

VERSION = 1
_VERSION_FIELD = "v"
_SIGNATURE_FIELD = "sig"
DEFAULT_SIGNER_FIELD = "publisher"


def encode_signed(
    fields: Mapping[str, Value], key: Ed25519PrivateKey, domain: str, network: Network
) -> bytes:
    """The encoding of `fields` (which name the signer) with `v` and `sig` added."""
    unsigned = {**fields, _VERSION_FIELD: VERSION}
    signature = network.sign(key, domain, dag_cbor.encode(unsigned))
    return dag_cbor.encode({**unsigned, _SIGNATURE_FIELD: signature})


def signed_length(fields: Mapping[str, Value]) -> int:
    """How many bytes `encode_signed` will make of these fields, without the cost of signing."""
    signature = bytes(SIGNATURE_BYTES)
    return len(dag_cbor.encode({**fields, _VERSION_FIELD: VERSION, _SIGNATURE_FIELD: signature}))


def parse_signed(
    raw: bytes,
    domain: str,
    network: Network,
    max_bytes: int,
    signer_field: str = DEFAULT_SIGNER_FIELD,
) -> dict[str, Value]:
    """The map without `sig`, its signature checked last, by far the dearest; MalformedError."""
    if len(raw) > max_bytes:
        raise MalformedError(f"{len(raw)} bytes, and at most {max_bytes} are allowed")
    fields, entries = dag_cbor.decode_map(raw)
    version = fields.get(_VERSION_FIELD)
    if type(version) is not int or version != VERSION:
        raise MalformedError(f"version {version!r} of this format is not known")
    signer = bytes_field(fields, signer_field, PUBLIC_KEY_BYTES)
    signature = bytes_field(fields, _SIGNATURE_FIELD, SIGNATURE_BYTES)
    del fields[_SIGNATURE_FIELD]
    unsigned = dag_cbor.without(raw, entries, _SIGNATURE_FIELD)
    network.verify(signer, domain, unsigned, signature)
    return fields


def bytes_field(fields: Mapping[str, Value], name: str, length: int) -> bytes:
    """A field that is that many bytes; raises MalformedError."""
    value = fields.get(name)
    if not isinstance(value, bytes) or len(value) != length:
        raise MalformedError(f"{name!r} is {length} bytes")
    return value


def int_field(fields: Mapping[str, Value], name: str, bits: int) -> int:
    """A field that is a number from 0 up to, not including, 2^bits; raises MalformedError."""
    value = fields.get(name)
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise MalformedError(f"{name!r} is a number of at most {bits} bits")
    return value


def text_field(fields: Mapping[str, Value], name: str, max_bytes: int) -> str:
    """A field that is text of at most so many bytes of UTF-8; raises MalformedError."""
    value = fields.get(name)
    if not isinstance(value, str) or len(value.encode()) > max_bytes:
        raise MalformedError(f"{name!r} is text of at most {max_bytes} bytes")
    return value


def list_field(fields: Mapping[str, Value], name: str, most: int) -> list[Value]:
    """A field that is a list of at most so many items; raises MalformedError."""
    value = fields.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError(f"{name!r} is a list of at most {most}")
    return value
