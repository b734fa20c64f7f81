"""Real files, made: an MP3 with ID3 tags, a picture, documents, random bytes."""

from __future__ import annotations

import random
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# MPEG-1 layer III, 128 kbit/s, 44.1 kHz, stereo: 417 bytes a frame.
_FRAME = bytes.fromhex("fffb9064") + bytes(413)
_WRITE_BYTES = 1 << 20


def mp3(*, artist: str, title: str, album: str, frames: int = 200) -> bytes:
    """A silent MP3 with an ID3v2.3 tag, about 26 ms a frame."""
    texts = {"TPE1": artist, "TIT2": title, "TALB": album, "TYER": "1969", "TCON": "Jazz"}
    body = b"".join(_id3_frame(name, text) for name, text in texts.items())
    return b"ID3\x03\0\0" + _synchsafe(len(body)) + body + _FRAME * frames


def png(width: int = 16, height: int = 16) -> bytes:
    """A small picture of one colour."""
    rows = b"".join(b"\0" + b"\x20\x60\xa0" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def random_file(path: Path, size: int, seed: int) -> None:
    """A file of `size` bytes that no two seeds share."""
    rng = random.Random(seed)
    with path.open("wb") as file:
        for start in range(0, size, _WRITE_BYTES):
            file.write(rng.randbytes(min(_WRITE_BYTES, size - start)))


def _id3_frame(name: str, text: str) -> bytes:
    encoded = b"\x01" + text.encode("utf-16")
    return name.encode() + struct.pack(">IH", len(encoded), 0) + encoded


def _synchsafe(value: int) -> bytes:
    return bytes((value >> shift) & 0x7F for shift in (21, 14, 7, 0))


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
