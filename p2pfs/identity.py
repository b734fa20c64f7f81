"""The node's one Ed25519 key: peer id, node id, certificate, signatures.

What is signed lives with its format; which network it is signed for, in `network`.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.x509.oid import NameOID

from p2pfs.content.cid import base58, parse_base58
from p2pfs.errors import MalformedError, UsageError
from p2pfs.network import PUBLIC_KEY_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from p2pfs.network import Network

_SEED_BYTES = 32
# libp2p's protobuf framing of an Ed25519 public key, in an identity multihash
# (https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md).
_PEER_ID_PREFIX = bytes.fromhex("0024080112") + bytes([PUBLIC_KEY_BYTES])
# Nobody checks dates on a self-signed certificate whose key is pinned; clocks may be wrong.
_NOT_BEFORE = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key and what follows from it."""

    private_key: Ed25519PrivateKey

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self.private_key.public_key().public_bytes_raw()

    @property
    def peer_id(self) -> str:
        """`12D3Koo…`, as libp2p writes it."""
        return peer_id(self.public_key)

    def certificate_pem(self) -> bytes:
        """A self-signed certificate for TLS; only its key means anything."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "p2pfs")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private_key.public_key())
            .serial_number(1)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
            .sign(self.private_key, None)
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def private_key_pem(self) -> bytes:
        """PKCS #8, unencrypted: the file it came from is no better protected."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


@dataclass(slots=True)
class OwnKey:
    """The node's public key as parts see it that start before it is made; empty until then."""

    public_key: bytes = b""


def peer_id(public_key: bytes) -> str:
    """The libp2p peer id of a 32-byte Ed25519 public key."""
    return base58(_PEER_ID_PREFIX + public_key)


def parse_peer_id(text: str) -> bytes:
    """The 32-byte Ed25519 public key that a peer id holds; raises MalformedError for any other."""
    raw = parse_base58(text)
    if not raw.startswith(_PEER_ID_PREFIX) or len(raw) != len(_PEER_ID_PREFIX) + PUBLIC_KEY_BYTES:
        raise MalformedError("not the peer id of an Ed25519 key")
    return raw[len(_PEER_ID_PREFIX) :]


def public_key_of_certificate(der: bytes) -> bytes:
    """The 32 raw bytes of a certificate's Ed25519 key; raises ValueError for any other."""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise ValueError("not a certificate with an Ed25519 key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004 as the parser says of other bytes
    return key.public_bytes_raw()


def parse_private_key(text: bytes) -> Ed25519PrivateKey:
    """A private key as a node's file holds it (32 bytes) or in PEM; raises MalformedError."""
    if len(text) == _SEED_BYTES:
        return Ed25519PrivateKey.from_private_bytes(text)
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedError("not an unencrypted private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise MalformedError("not an Ed25519 key")
    return key


def read_identity(path: Path) -> Identity | None:
    """The identity kept in a file, None if there is none, whichever network it counts in.

    Raises UsageError for one that cannot be read.
    """
    try:
        seed = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        return Identity(parse_private_key(seed))
    except MalformedError as error:
        raise UsageError(f"{path} is not a p2pfs key; move it away to get a new one") from error


def load_identity(path: Path, network: Network) -> Identity | None:
    """The same, for use in a network; raises UsageError also for one that does not count there."""
    identity = read_identity(path)
    if identity is not None and not network.key_counts(identity.public_key):
        raise UsageError(
            f"the key in {path} does not solve the puzzle of network {network.name!r}; "
            "use another P2PFS_HOME for this network, or move the key away to get a new one"
        )
    return identity


def create_identity(path: Path, network: Network) -> Identity:
    """Grind a key that counts in the network and keep it.  Seconds of work: in a thread."""
    while True:
        identity = Identity(Ed25519PrivateKey.generate())
        if network.key_counts(identity.public_key):
            break
    keep_identity(path, identity)
    return identity


def keep_identity(path: Path, identity: Identity) -> None:
    """Write it, mode 0600, in the place of what is there; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(identity.private_key.private_bytes_raw())
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
