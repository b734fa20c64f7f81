"""Keys of simulated nodes, all out of one shipped file, and signatures that cost next to nothing.

A network of thousands checks millions of signatures, and what is asked there is never whether
Ed25519 holds.  `CheapNetwork` puts a hash of key and message in a signature's place.  Anybody could
forge it, so simulated adversaries are trusted not to; small networks use the real thing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pfs.errors import MalformedError
from p2pfs.identity import Identity
from p2pfs.network import Network, public_network

_SEED = bytes.fromhex((Path(__file__).parent / "seed").read_text())
NAME = "simulated"
REAL = public_network(NAME)


class CheapNetwork(Network):
    """The network of that name with a hash for a signature."""

    __slots__ = ()

    def sign(self, key: Ed25519PrivateKey, domain: str, body: bytes) -> bytes:
        return self._hash(key.public_key().public_bytes_raw(), domain, body)

    def verify(self, public_key: bytes, domain: str, body: bytes, signature: bytes) -> None:
        if not self.key_counts(public_key) or signature != self._hash(public_key, domain, body):
            raise MalformedError("wrong signature")

    def _hash(self, public_key: bytes, domain: str, body: bytes) -> bytes:
        return hashlib.blake2b(self.signed_bytes(domain, body), key=public_key).digest()


CHEAP = CheapNetwork(REAL.name, REAL.id, REAL.puzzle_bits)


@dataclass(frozen=True, slots=True)
class _CheapKey:
    """As much of a private key as `CheapNetwork` and `Identity` use: it is its own public key."""

    raw: bytes

    def public_key(self) -> _CheapKey:
        return self

    def public_bytes_raw(self) -> bytes:
        return self.raw


def real_identity(number: int) -> Identity:
    """The key of a node of `REAL`."""
    return Identity(Ed25519PrivateKey.from_private_bytes(_derived(number)))


def cheap_identity(number: int) -> Identity:
    """The key of a node of `CHEAP`."""
    return cheap_identity_of(_derived(number))


def cheap_identity_of(public_key: bytes) -> Identity:
    """The node of `CHEAP` with that public key, 32 bytes of any kind."""
    return Identity(cast("Ed25519PrivateKey", _CheapKey(public_key)))


def _derived(number: int) -> bytes:
    return hashlib.sha256(_SEED + number.to_bytes(8, "big")).digest()
