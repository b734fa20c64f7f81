from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.crc import crc32_combine


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_it_is_the_crc_of_both_in_a_row(first: bytes, second: bytes) -> None:
    combined = crc32_combine(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)


@given(st.lists(st.integers(0, 300_000), max_size=6))
def test_lengths_of_real_chunks_combine(sizes: list[int]) -> None:
    combined = whole = zlib.crc32(b"")
    for size in sizes:
        chunk = bytes(size)
        whole = zlib.crc32(chunk, whole)
        combined = crc32_combine(combined, zlib.crc32(chunk), size)
    assert combined == whole


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_shifts_of_any_length_add_up(one: int, other: int) -> None:
    # No file is that long: shifting by both lengths in turn is shifting by their sum.
    apart = crc32_combine(crc32_combine(0xDEADBEEF, 0, one), 0, other)
    assert apart == crc32_combine(0xDEADBEEF, 0, one + other)
