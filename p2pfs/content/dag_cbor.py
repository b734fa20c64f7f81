"""Canonical DAG-CBOR: values to their one encoding, and back.  No schema belongs here.

Hand-written since `libipld` cannot say what our formats say: it writes every byte string that
happens to begin as a CID does (each multihash, one signature in 1,100) as a link, and reads links
as bytes and numbers in any width.  Here links are `Link`, bytes are bytes, and one value has
one encoding, so what was read can be encoded again and is the same.
https://ipld.io/specs/codecs/dag-cbor/spec/ and RFC 8949, section 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from p2pfs.errors import MalformedError

# Our formats nest three levels; what others add to them may go deeper, but not without end.
MAX_DEPTH = 16
# A microsecond each.  The most that a format of ours holds is a batch of 256 records under 32
# subjects each, at five items a subject.
MAX_ITEMS = 65_536

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = range(8)
_LINK_TAG = 42
# The three simple values there are, by their argument.
_SIMPLE_VALUES = {20: False, 21: True, 22: None}
_FLOAT64_HEAD = 0xFB
# An argument below 24 is in the first byte; 24 to 27 say that 1, 2, 4 or 8 bytes follow it.
_INLINE_ARGUMENTS = 24
_ARGUMENT_BYTES = {24: 1, 25: 2, 26: 4, 27: 8}
_ARGUMENT_LIMIT = 2**64


@dataclass(frozen=True, slots=True)
class Link:
    """A CID, in its binary form, unchecked: CBOR tag 42."""

    cid: bytes


Value: TypeAlias = (
    "bool | int | float | str | bytes | Link | Sequence[Value] | Mapping[str, Value] | None"
)


def encode(value: Value) -> bytes:
    """The canonical encoding; raises MalformedError for what DAG-CBOR cannot hold."""
    out = bytearray()
    _write(out, value, 0)
    return bytes(out)


def decode(raw: bytes) -> Value:
    """The value; raises MalformedError for anything but one canonical encoding.

    Work and memory are in proportion to `raw`, whose length the caller bounds, and to `MAX_ITEMS`.
    Lists come as `list`, maps as `dict`.
    """
    reader = _Reader(raw)
    value = reader.value(0)
    if reader.at != len(raw):
        raise MalformedError("DAG-CBOR: bytes after the end")
    return value


def decode_map(raw: bytes) -> tuple[dict[str, Value], dict[str, slice]]:
    """A map, and where in `raw` each of its entries is, key and value; raises as `decode`."""
    reader = _Reader(raw)
    value = reader.value(0)
    if not isinstance(value, dict) or reader.at != len(raw):
        raise MalformedError("DAG-CBOR: one map, and nothing after it")
    return value, reader.entries


def without(raw: bytes, entries: Mapping[str, slice], key: str) -> bytes:
    """What `decode_map` read, encoded without one of its keys: the rest need not be made again."""
    begin = len(_head(_MAP, len(entries)))
    cut = entries[key]
    return _head(_MAP, len(entries) - 1) + raw[begin : cut.start] + raw[cut.stop :]


def _head(major: int, argument: int) -> bytes:
    out = bytearray()
    _write_head(out, major, argument)
    return bytes(out)


def _write(out: bytearray, value: Value, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise MalformedError("DAG-CBOR: nested too deeply")
    if isinstance(value, Mapping):
        _write_head(out, _MAP, len(value))
        for key in sorted(value, key=_map_order):
            _write_string(out, _TEXT, _utf8(key))
            _write(out, value[key], depth + 1)
    elif isinstance(value, list | tuple):
        _write_head(out, _LIST, len(value))
        for item in value:
            _write(out, item, depth + 1)
    else:
        _write_scalar(out, value)


def _write_scalar(out: bytearray, value: Value) -> None:
    match value:
        case None | bool():
            out.append(_SIMPLE << 5 | {False: 20, True: 21, None: 22}[value])
        case int():
            _write_int(out, value)
        case float():
            if not math.isfinite(value):
                raise MalformedError("DAG-CBOR: only finite numbers")
            out.append(_FLOAT64_HEAD)
            out += struct.pack(">d", value)
        case str():
            _write_string(out, _TEXT, _utf8(value))
        case bytes():
            _write_string(out, _BYTES, value)
        case Link():
            _write_head(out, _TAG, _LINK_TAG)
            _write_string(out, _BYTES, b"\0" + value.cid)
        case _:
            raise MalformedError(f"DAG-CBOR cannot hold a {type(value).__name__}")


def _write_int(out: bytearray, value: int) -> None:
    major, argument = (_UNSIGNED, value) if value >= 0 else (_NEGATIVE, -1 - value)
    if argument >= _ARGUMENT_LIMIT:
        raise MalformedError("DAG-CBOR: a number of more than 64 bits")
    _write_head(out, major, argument)


def _write_string(out: bytearray, major: int, raw: bytes) -> None:
    _write_head(out, major, len(raw))
    out += raw


def _write_head(out: bytearray, major: int, argument: int) -> None:
    if argument < _INLINE_ARGUMENTS:
        out.append(major << 5 | argument)
        return
    for code, width in _ARGUMENT_BYTES.items():
        if argument < 1 << 8 * width:
            out.append(major << 5 | code)
            out += argument.to_bytes(width, "big")
            return


def _utf8(text: object) -> bytes:
    if not isinstance(text, str):
        raise MalformedError("DAG-CBOR: a map's keys are text")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedError("DAG-CBOR: text that is not UTF-8") from error


def _map_order(key: object) -> tuple[int, bytes]:
    """DAG-CBOR sorts the keys of a map by length, then by their bytes (RFC 7049, 3.9)."""
    raw = _utf8(key)
    return len(raw), raw


class _Reader:
    """A place in the bytes; every method reads what begins there and goes behind it."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._items = 0
        self.at = 0
        self.entries: dict[str, slice] = {}  # of the outermost map

    def value(self, depth: int) -> Value:
        self._items += 1
        if depth > MAX_DEPTH or self._items > MAX_ITEMS:
            raise MalformedError("DAG-CBOR: nested too deeply, or too many items")
        if self._raw[self.at : self.at + 1] == bytes([_FLOAT64_HEAD]):
            return self._float()
        major, argument = self._head()
        if major in (_LIST, _MAP):
            self._demand(argument)
            nested = self._list if major == _LIST else self._map
            return nested(argument, depth + 1)
        return self._scalar(major, argument)

    def _scalar(self, major: int, argument: int) -> Value:
        if major in (_UNSIGNED, _NEGATIVE):
            return argument if major == _UNSIGNED else -1 - argument
        if major == _BYTES:
            return self._take(argument)
        if major == _TEXT:
            return self._text(argument)
        return self._link(argument) if major == _TAG else self._simple(argument)

    def _head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        major, code = first >> 5, first & 0x1F
        if code < _INLINE_ARGUMENTS:
            return major, code
        width = _ARGUMENT_BYTES.get(code)
        if width is None:
            raise MalformedError("DAG-CBOR: an indefinite length")
        argument = int.from_bytes(self._take(width), "big")
        least = _INLINE_ARGUMENTS if width == 1 else 1 << 4 * width
        if argument < least:
            raise MalformedError("DAG-CBOR: a number wider than it need be")
        return major, argument

    def _take(self, length: int) -> bytes:
        stop = self.at + length
        if stop > len(self._raw):
            raise MalformedError("DAG-CBOR: cut short")
        taken = self._raw[self.at : stop]
        self.at = stop
        return taken

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode()
        except UnicodeDecodeError as error:
            raise MalformedError("DAG-CBOR: text that is not UTF-8") from error

    def _list(self, length: int, depth: int) -> Value:
        return [self.value(depth) for _ in range(length)]

    def _map(self, length: int, depth: int) -> Value:
        found: dict[str, Value] = {}
        last = (-1, b"")
        for _ in range(length):
            start = self.at
            major, size = self._head()
            if major != _TEXT:
                raise MalformedError("DAG-CBOR: a map's keys are text")
            key = self._text(size)
            order = _map_order(key)
            if order <= last:
                raise MalformedError("DAG-CBOR: a map's keys are sorted and distinct")
            last = order
            found[key] = self.value(depth)
            if depth == 1:
                self.entries[key] = slice(start, self.at)
        return found

    def _demand(self, items: int) -> None:
        """Refuse a count that the bytes left cannot hold, one byte each, before any work."""
        if items > len(self._raw) - self.at:
            raise MalformedError("DAG-CBOR: cut short")

    def _link(self, tag: int) -> Link:
        if tag != _LINK_TAG:
            raise MalformedError(f"DAG-CBOR: tag {tag}")
        major, length = self._head()
        if major != _BYTES or length == 0 or self._take(1) != b"\0":
            raise MalformedError("DAG-CBOR: not a link")
        return Link(self._take(length - 1))

    def _simple(self, argument: int) -> Value:
        if argument not in _SIMPLE_VALUES:
            raise MalformedError(f"DAG-CBOR: simple value {argument}")
        return _SIMPLE_VALUES[argument]

    def _float(self) -> float:
        self.at += 1
        number: float = struct.unpack(">d", self._take(8))[0]
        if not math.isfinite(number):
            raise MalformedError("DAG-CBOR: only finite numbers")
        return number
