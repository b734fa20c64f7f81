"""The certificate authority of a private network, which every member can be.

Its key follows from the network's secret, so whoever knows that can certify, and nobody else.
Where certificates are shown and checked is `peers.streams.credentials`.
"""

from __future__ import annotations

import datetime
import hashlib
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Fixed, so that all members have the same authority, byte for byte; clocks may be wrong.
_NOT_BEFORE = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)
_AUTHORITY_NAME, _MEMBER_NAME = "p2pfs network", "p2pfs"
_SERIAL = 1
_SERIAL_BYTES = 16  # of the key's hash; RFC 5280 allows 20


def authority_certificate(seed: bytes) -> bytes:
    """The authority's own certificate, in DER; `seed` is `MemberKeys.authority`."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    constraint = x509.BasicConstraints(ca=True, path_length=0)
    unsigned = _builder(_AUTHORITY_NAME, key.public_key(), _SERIAL)
    return _der(unsigned.add_extension(constraint, critical=True).sign(key, None))


def member_certificate(seed: bytes, key: Ed25519PublicKey) -> bytes:
    """A member's certificate by the authority, in DER."""
    digest = hashlib.sha256(key.public_bytes_raw()).digest()
    serial = int.from_bytes(digest[:_SERIAL_BYTES], "big") | 1  # never 0
    authority = Ed25519PrivateKey.from_private_bytes(seed)
    return _der(_builder(_MEMBER_NAME, key, serial).sign(authority, None))


def _builder(subject: str, key: Ed25519PublicKey, serial: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(_AUTHORITY_NAME))
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
