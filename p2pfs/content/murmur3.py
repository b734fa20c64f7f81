"""MurmurHash3 as sharded directories use it: the first half of the x64 variant of 128 bits.

Hand-written: the live library (mmh3) is a compiled dependency for these forty lines, and a name
costs microseconds.  https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp
"""

from __future__ import annotations

_MASK = 2**64 - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
_ADDED_1, _ADDED_2 = 0x52DCE729, 0x38495AB5
_MIXED_1, _MIXED_2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53
_LANE_BYTES = 8
_BLOCK_BYTES = 2 * _LANE_BYTES


def murmur3_x64_64(content: bytes) -> int:
    """64 bits, seed 0."""
    h1 = h2 = 0
    length = len(content)
    tail_at = length - length % _BLOCK_BYTES
    for at in range(0, tail_at, _BLOCK_BYTES):
        middle = at + _LANE_BYTES
        h1 ^= _first(int.from_bytes(content[at:middle], "little"))
        h1 = ((_rotated(h1, 27) + h2) * 5 + _ADDED_1) & _MASK
        h2 ^= _second(int.from_bytes(content[middle : at + _BLOCK_BYTES], "little"))
        h2 = ((_rotated(h2, 31) + h1) * 5 + _ADDED_2) & _MASK
    middle = tail_at + _LANE_BYTES
    h1 ^= _first(int.from_bytes(content[tail_at:middle], "little")) ^ length
    h2 ^= _second(int.from_bytes(content[middle:], "little")) ^ length
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    return (_final(h1) + _final(h2)) & _MASK


def _first(lane: int) -> int:
    return _rotated(lane * _C1 & _MASK, 31) * _C2 & _MASK


def _second(lane: int) -> int:
    return _rotated(lane * _C2 & _MASK, 33) * _C1 & _MASK


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _final(value: int) -> int:
    value = (value ^ value >> 33) * _MIXED_1 & _MASK
    value = (value ^ value >> 33) * _MIXED_2 & _MASK
    return value ^ value >> 33
