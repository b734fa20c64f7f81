"""Unsigned LEB128 integers, as protobuf and multiformats write them.

Only the numbers: what they count is known to `cid`, `dag_pb`, `car` and `intervals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Sizes and offsets go into the kernel and into SQLite, which know signed 64-bit integers.
MAX_INTEGER = 2**63 - 1
# The longest that protobuf writes, a 64-bit integer in groups of 7 bits.
_MAX_VARINT_BYTES = 10
_MORE = 0x80
_LOW_BITS = 0x7F


def encode_varint(value: int) -> bytes:
    """The shortest encoding of a number that is not negative."""
    encoded = bytearray()
    while value > _LOW_BITS:
        encoded.append(value & _LOW_BITS | _MORE)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_varint(buffer: Sequence[int], at: int, end: int) -> tuple[int, int]:
    """The number at `at` and where the next thing begins, at most `end`; raises MalformedError.

    Longer encodings than needed pass, as they do in protobuf; over 63 bits do not.
    """
    if at < end and buffer[at] < _MORE:  # as most are
        return buffer[at], at + 1
    value = shift = 0
    for position in range(at, min(end, at + _MAX_VARINT_BYTES)):
        byte = buffer[position]
        value |= (byte & _LOW_BITS) << shift
        if byte < _MORE:
            if value > MAX_INTEGER:
                raise MalformedError("an integer over 63 bits")
            return value, position + 1
        shift += 7
    raise MalformedError("an integer that does not end")


def read_short_varint(buffer: Sequence[int], at: int, end: int) -> tuple[int, int]:
    """As `read_varint`, but a longer encoding than needed is refused, as multiformats demands."""
    value, after = read_varint(buffer, at, end)
    if after - at > 1 and buffer[after - 1] == 0:
        raise MalformedError("an integer longer than it must be")
    return value, after


def read_extent(buffer: Sequence[int], at: int, end: int) -> tuple[int, int]:
    """Where the field lies whose length stands at `at`: start and stop; raises MalformedError."""
    length, start = read_varint(buffer, at, end)
    if length > end - start:
        raise MalformedError("a field longer than what holds it")
    return start, start + length
