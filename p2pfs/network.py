"""Which network a node is in: its id, the puzzle a key must solve, and what a signature covers.

Pure.  Keys themselves live in `identity`; what is signed lives with its format; what the keys of
a private network are used for, in `authority` and `dht.kad.sealed`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DEFAULT_NAME = "p2pfs"
_ID_DOMAIN = b"p2pfs-network-1"
# A speed bump against sybils, not a wall: seconds in Python, far less for a native grinder.
DEFAULT_PUZZLE_BITS = 16
NODE_ID_BYTES = 20
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
# A verification costs 110-180 µs and records are met again and again; a message is about 1 KiB,
# so this is at most 10 MiB.
_REMEMBERED_SIGNATURES = 8_192
# Twenty referrals an answer name the same keys again and again; some 200 bytes each.
_REMEMBERED_KEYS = 16_384


# An observer can try guesses on one datagram: 16 bytes are beyond that if they are random, which
# a word is not.  What is longer than 1 KiB is another file.
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 16, 1_024
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """What only members of a private network can compute, 32 bytes each."""

    seal: bytes = field(repr=False)
    """Of AES-256-GCM-SIV, for datagrams."""
    authority: bytes = field(repr=False)
    """The Ed25519 seed of the authority that certifies members for TLS."""


@dataclass(frozen=True, slots=True)
class Network:
    """A name, the id that follows from it (32 bytes), and the zero bits a key's puzzle demands.

    `members` is None in a public network.
    """

    name: str
    id: bytes
    puzzle_bits: int
    members: MemberKeys | None = None

    def __hash__(self) -> int:
        """Of the id, which all else follows from: it is asked for with every key that is met."""
        return hash(self.id)

    def node_id(self, public_key: bytes) -> bytes:
        """Where a key stands in the overlay: 20 bytes, for locating only."""
        return _node_id(self.id, public_key)

    def key_counts(self, public_key: bytes) -> bool:
        """Whether a 32-byte public key solves this network's puzzle."""
        if len(public_key) != PUBLIC_KEY_BYTES:
            return False
        return self.puzzle_bits == 0 or _puzzle(public_key) >> (256 - self.puzzle_bits) == 0

    def signed_bytes(self, domain: str, body: bytes) -> bytes:
        """What a signature covers: domain | 0 | network id | body."""
        return domain.encode() + b"\0" + self.id + body

    def sign(self, key: Ed25519PrivateKey, domain: str, body: bytes) -> bytes:
        """A 64-byte Ed25519 signature (RFC 8032)."""
        return key.sign(self.signed_bytes(domain, body))

    def verify(self, public_key: bytes, domain: str, body: bytes, signature: bytes) -> None:
        """Return only for a right signature by a key that counts; raises MalformedError."""
        if not self.key_counts(public_key):
            raise MalformedError("the key does not solve the network's puzzle")
        if not _signature_holds(public_key, self.signed_bytes(domain, body), signature):
            raise MalformedError("wrong signature")


def public_network(name: str = DEFAULT_NAME, puzzle_bits: int | None = None) -> Network:
    """The network of that name without a secret.

    `puzzle_bits` other than the name's own default are part of the network's id, so that nodes
    which disagree about the puzzle are in different networks and never meet.
    """
    default = DEFAULT_PUZZLE_BITS if name == DEFAULT_NAME else 0
    bits = default if puzzle_bits is None else puzzle_bits
    seed = _ID_DOMAIN + name.encode() + _told_bits(bits, default)
    return Network(name, hashlib.sha256(seed).digest(), bits)


def private_network(name: str, secret: bytes, puzzle_bits: int | None = None) -> Network:
    """The network of that name whose members know the secret; raises MalformedError if short.

    No work is demanded of keys unless `puzzle_bits` says so: strangers are outside already.
    """
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise MalformedError(
            f"a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, not {len(secret)}"
        )
    bits = puzzle_bits or 0
    salt = name.encode()
    keys = MemberKeys(
        seal=_derived(secret, salt, b"p2pfs-seal-1"),
        authority=_derived(secret, None, b"p2pfs-ca-1"),
    )
    return Network(name, _derived(secret, salt, _ID_DOMAIN + _told_bits(bits, 0)), bits, keys)


def _told_bits(bits: int, default: int) -> bytes:
    return b"" if bits == default else b"\0" + bytes([bits])


def _derived(secret: bytes, salt: bytes | None, info: bytes) -> bytes:
    """32 bytes by HKDF-SHA256 (RFC 5869)."""
    return HKDF(SHA256(), _KEY_BYTES, salt, info).derive(secret)


@lru_cache(_REMEMBERED_KEYS)
def _node_id(network_id: bytes, public_key: bytes) -> bytes:
    return hashlib.sha256(b"p2pfs-node-1" + network_id + public_key).digest()[:NODE_ID_BYTES]


@lru_cache(_REMEMBERED_KEYS)
def _puzzle(public_key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"p2pfs-puzzle-1" + public_key).digest(), "big")


@lru_cache(_REMEMBERED_SIGNATURES)
def _signature_holds(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
