"""How values that SQLite does not have stand in a column of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.content.cid import read_cid

if TYPE_CHECKING:
    from p2pfs.content.cid import Cid

_BIT_63 = 1 << 63
_BIT_64 = 1 << 64


def root_key(cid: Cid) -> bytes:
    """A root's CID, binary, in version 1: contents that differ in version only are one."""
    return cid.v1.encode()


def stored_cid(raw: bytes) -> Cid:
    """The CID of such a key."""
    return read_cid(raw, 0)[0]


def joined(tags: tuple[str, ...]) -> str:
    """Tags as one text: in normal form none holds a line break."""
    return "\n".join(tags)


def split(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()


def signed(number: int) -> int:
    """An unsigned integer of 64 bits, such as some file systems' inodes, as a signed one."""
    return number - _BIT_64 if number >= _BIT_63 else number


def wrapped(number: int) -> int:
    """Any integer modulo 2^64 as a signed one: a time in nanoseconds can be after the year 2262."""
    return signed(number % _BIT_64)


def unsigned(number: int) -> int:
    return number + _BIT_64 if number < 0 else number
