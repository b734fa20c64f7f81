"""CRC-32 of a whole from those of its parts.

The CRC-32 itself is `zlib.crc32`.
"""

from __future__ import annotations

from functools import cache, lru_cache

# The polynomial of zlib's CRC-32, bits reversed: the coefficient of x^0 is the highest bit.
_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
_X = 1 << 30
_BITS = 32


def crc32_combine(crc1: int, crc2: int, len2: int) -> int:
    """The CRC-32 of A + B from that of A, that of B, and the length of B.

    As in zlib 1.2.12: shifting A past B is multiplying by x^(8 len2) modulo the polynomial.
    """
    return _product(_shift(len2), crc1) ^ crc2


# Nearly all parts of a file are chunks of one size.
@lru_cache(64)
def _shift(length: int) -> int:
    """x^(8 length) modulo the polynomial."""
    shift = _ONE
    exponent = 3  # of the power of two that x is raised to: 2^3 bits a byte
    while length:
        if length & 1:
            shift = _product(_power(exponent), shift)
        length >>= 1
        exponent += 1
    return shift


@cache
def _power(exponent: int) -> int:
    """x^(2^exponent) modulo the polynomial."""
    if exponent == 0:
        return _X
    root = _power(exponent - 1)
    return _product(root, root)


def _product(a: int, b: int) -> int:
    """A times b modulo the polynomial."""
    product = 0
    for bit in range(_BITS - 1, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return product
