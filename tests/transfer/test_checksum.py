"""CRC-32 of pieces that land in any order."""

from __future__ import annotations

import random
import zlib

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.transfer.checksum import Checksum


@given(st.binary(max_size=2_000), st.integers(1, 300), st.randoms(use_true_random=False))
def test_any_order_of_pieces_gives_the_checksum_of_the_whole(
    content: bytes, piece_bytes: int, moves: random.Random
) -> None:
    starts = list(range(0, len(content), piece_bytes)) * 2  # some pieces come twice
    moves.shuffle(starts)
    checksum = Checksum(len(content))
    for start in starts:
        checksum.add(start, content[start : start + piece_bytes])
    assert checksum.whole() == zlib.crc32(content)


def test_with_a_piece_missing_there_is_no_checksum() -> None:
    checksum = Checksum(30)
    checksum.add(0, bytes(10))
    checksum.add(20, bytes(10))
    assert checksum.whole() is None
    checksum.add(10, memoryview(bytes(10)))
    assert checksum.whole() == zlib.crc32(bytes(30))
