"""A small MP3 with ID3v2.3 tags, made here so that no recording need be shipped."""

_FRAMES = {"title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "year": b"TYER", "genre": b"TCON"}
# MPEG 1 layer III, 128 kbit/s, 44.1 kHz, no padding: 417 bytes a frame.
_SILENT_FRAME = b"\xff\xfb\x90\x00".ljust(417, b"\0")


def mp3(frames: int = 20, **fields: str) -> bytes:
    """Silence with the given title, artist, album, year and genre."""
    body = b"".join(_frame(_FRAMES[name], text) for name, text in fields.items())
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + body + _SILENT_FRAME * frames


def _frame(name: bytes, text: str) -> bytes:
    body = b"\x01" + text.encode("utf-16")
    return name + len(body).to_bytes(4, "big") + b"\0\0" + body
