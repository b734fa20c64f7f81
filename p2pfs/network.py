"""Which network a node is in: its id, the puzzle a key must solve, and what a signature covers.

Pure.  Keys themselves live in `identity`; what is signed lives with its format.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DEFAULT_NAME = "p2pfs"
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


@dataclass(frozen=True, slots=True)
class Network:
    """A name, the id that follows from it (32 bytes), and the zero bits a key's puzzle demands."""

    name: str
    id: bytes
    puzzle_bits: int

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
    seed = b"p2pfs-network-1" + name.encode()
    if bits != default:
        seed += b"\0" + bytes([bits])
    return Network(name, hashlib.sha256(seed).digest(), bits)


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
