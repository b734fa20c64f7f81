import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pfs.library.media import Media, read_media
from tests.library.id3 import mp3


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def media_of(folder: Path, name: str, content: bytes) -> Media:
    path = folder / name
    path.write_bytes(content)
    with opened(path) as fd:
        return read_media(fd, name)


def test_an_mp3_tells_its_tags(tmp_path: Path) -> None:
    song = mp3(title="Blue Night", artist="Pearl Jam", album="Ten / 1", year="1991-08-27")
    media = media_of(tmp_path, "song.mp3", song)
    assert media.mime == "audio/mpeg"
    assert media.title == "Blue Night"
    assert set(media.tags) == {
        "artist:pearl-jam",
        "title:blue-night",
        "album:ten-1",
        "year:1991",
    }
    assert media.user_tags is None


@pytest.mark.parametrize(
    ("name", "content", "mime"),
    [
        ("a.txt", b"text", "text/plain"),
        ("a.pdf", b"%PDF", "application/pdf"),
        ("a.jpg", b"\xff\xd8", "image/jpeg"),
        ("a.flac", b"", "audio/flac"),
        ("a.tar.gz", b"\x1f\x8b", "application/gzip"),
        ("README", "Grüße".encode(), "text/plain"),
        ("README", b"x" * 4095 + "ü".encode(), "text/plain"),
        ("blob", b"\0\1\2\xff", "application/octet-stream"),
        ("empty", b"", "application/octet-stream"),
    ],
)
def test_the_type_comes_from_the_extension_or_the_content(
    tmp_path: Path, name: str, content: bytes, mime: str
) -> None:
    assert media_of(tmp_path, name, content).mime == mime


def test_the_users_own_tags_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x")
    try:
        os.setxattr(path, "user.xdg.tags", b"Holiday Pictures, b/c,, \xff")
    except OSError:
        pytest.skip("no extended attributes here")
    with opened(path) as fd:
        assert read_media(fd, "a.txt").user_tags == ("holiday-pictures", "b-c", "\ufffd")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["a.mp3", "a.m4a", "a.flac", "a.ogg", "a.wav", "a.wma", "a.aiff", "a"]),
    st.sampled_from(
        [b"", b"ID3\x03\0\0\0\0\0\x20", b"fLaC", b"OggS", b"RIFF1234WAVE", b"\xff\xfb"]
    ),
    st.binary(max_size=300),
)
def test_broken_metadata_is_no_metadata(
    tmp_path: Path, name: str, magic: bytes, rest: bytes
) -> None:
    media_of(tmp_path, name, magic + rest)
