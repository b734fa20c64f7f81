from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.varint import (
    MAX_INTEGER,
    encode_varint,
    read_extent,
    read_short_varint,
    read_varint,
)
from p2pfs.errors import MalformedError


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (16_384, "808001")]
)
def test_numbers_have_the_bytes_of_the_specification(value: int, encoded: str) -> None:
    assert encode_varint(value).hex() == encoded
    assert read_varint(bytes.fromhex(encoded), 0, len(encoded) // 2) == (value, len(encoded) // 2)


@given(st.integers(0, MAX_INTEGER), st.binary(max_size=3), st.binary(max_size=3))
def test_a_number_reads_back_amid_others(value: int, before: bytes, after: bytes) -> None:
    encoded = encode_varint(value)
    buffer = before + encoded + after
    expected = (value, len(before) + len(encoded))
    assert read_varint(buffer, len(before), len(buffer)) == expected
    assert read_short_varint(memoryview(buffer), len(before), len(buffer)) == expected


@pytest.mark.parametrize(
    "encoded",
    ["", "80", "ff" * 9, "ff" * 1_000, "80" * 9 + "01", "ff" * 9 + "01", "80" * 10 + "00"],
)
def test_what_is_cut_or_too_large_is_refused(encoded: str) -> None:
    with pytest.raises(MalformedError):
        read_varint(bytes.fromhex(encoded), 0, len(encoded) // 2)


def test_only_protobuf_may_write_more_than_needed() -> None:
    assert read_varint(b"\x81\x00", 0, 2) == (1, 2)
    with pytest.raises(MalformedError, match="longer"):
        read_short_varint(b"\x81\x00", 0, 2)
    assert read_short_varint(b"\x00", 0, 1) == (0, 1)


def test_nothing_is_read_behind_the_end() -> None:
    with pytest.raises(MalformedError):
        read_varint(b"\x80\x01", 0, 1)
    with pytest.raises(MalformedError):
        read_extent(b"\x02ab", 0, 2)


@given(st.binary(max_size=20))
def test_any_bytes_are_a_number_or_malformed(raw: bytes) -> None:
    for read in (read_varint, read_short_varint, read_extent):
        with contextlib.suppress(MalformedError):
            read(raw, 0, len(raw))
