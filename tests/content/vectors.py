"""The vectors of `ipfs-unixfs-importer` and Kubo, and the generators of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "unixfs.json").read_text()
)
_SHAKE_BYTES = 65_536


def shake(seed: str, size: int, chunk_bytes: int) -> Iterator[bytes]:
    """The content of npm's vectors, in chunks; a multiple of a chunk or a part is made at once."""
    unit = max(chunk_bytes, _SHAKE_BYTES)
    made = 0
    while made < size:
        parts = (
            hashlib.shake_256(f"{seed}:{index}".encode()).digest(_SHAKE_BYTES)
            for index in range(made // _SHAKE_BYTES, (made + unit) // _SHAKE_BYTES)
        )
        content = b"".join(parts)[: size - made]
        yield from cut(content, chunk_bytes)
        made += unit


def chacha20(seed: str, size: int, chunk_bytes: int) -> Iterator[bytes]:
    """The content of Kubo's vectors, in chunks."""
    key = hashlib.sha256(seed.encode()).digest()
    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
    for start in range(0, size, chunk_bytes):
        yield stream.update(bytes(min(chunk_bytes, size - start)))


def cut(content: bytes, chunk_bytes: int) -> list[bytes]:
    return [content[at : at + chunk_bytes] for at in range(0, len(content), chunk_bytes)]
