from __future__ import annotations

import contextlib
import tracemalloc

import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content.car import (
    CarReader,
    EntityBytes,
    block_prefix,
    encode_header,
    parse_entity_bytes,
)
from p2pfs.content.cid import DAG_PB, MAX_BLOCK_BYTES, RAW, Cid, cid_of, cid_v0_of, parse_cid
from p2pfs.content.varint import encode_varint
from p2pfs.errors import MalformedError

_ROOT = cid_of(DAG_PB, b"root")
_HEADER = encode_header(_ROOT)
_BLOCKS = st.lists(st.binary(max_size=400), max_size=6)


def _car(blocks: list[tuple[Cid, bytes]], root: Cid = _ROOT) -> bytes:
    sections = (block_prefix(cid, len(block)) + block for cid, block in blocks)
    return encode_header(root) + b"".join(sections)


def _read(reader: CarReader, *pieces: bytes) -> list[tuple[Cid, bytes]]:
    return [(cid, bytes(block)) for piece in pieces for cid, block in reader.feed(piece)]


def _cids(block: bytes) -> list[Cid]:
    inline = block[:100]
    carried = parse_cid("f0155" + (bytes((0, len(inline))) + inline).hex())
    return [cid_of(RAW, block), cid_v0_of(block), carried]


def test_the_header_has_the_bytes_of_the_specification() -> None:
    assert _HEADER.hex() == (
        "3aa265726f6f747381d82a582500" + _ROOT.encode().hex() + "6776657273696f6e01"
    )


def test_a_block_follows_its_length_and_its_cid() -> None:
    assert block_prefix(parse_cid("bafkqaaa"), 2**18).hex() == "84801001550000"
    assert block_prefix(_ROOT, 4) == b"\x28" + _ROOT.encode()


@given(_BLOCKS, st.lists(st.integers(1, 150), min_size=1, max_size=20), st.integers(0, 2))
def test_blocks_come_out_however_the_pieces_were_cut(
    blocks: list[bytes], cuts: list[int], version: int
) -> None:
    named = [(_cids(block)[version], block) for block in blocks]
    car = _car(named)
    pieces: list[bytes] = []
    at = 0
    while at < len(car):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(car[at : at + size])
        at += size
    reader = CarReader()
    assert _read(reader, *pieces) == named
    assert reader.roots == (_ROOT,)
    reader.close()


def test_empty_pieces_and_empty_blocks_are_fine() -> None:
    empty = cid_of(RAW, b"")
    reader = CarReader()
    assert _read(reader, b"", _HEADER, b"", block_prefix(empty, 0), b"") == [(empty, b"")]
    reader.close()


def test_a_block_within_a_piece_is_a_view_of_it() -> None:
    block = bytes(1000)
    reader = CarReader()
    car = _car([(cid_of(RAW, block), block)])
    [(_, view)] = reader.feed(car)
    assert view.obj is car


def test_a_block_that_spans_pieces_is_copied_once() -> None:
    block = bytes(range(256)) * 1_024
    car = _car([(cid_of(RAW, block), block)])
    reader = CarReader()
    pieces = [car[at : at + 100_000] for at in range(0, len(car), 100_000)]
    tracemalloc.start()
    try:
        assert _read(reader, *pieces[:-1]) == []
        assert tracemalloc.get_traced_memory()[1] < len(block) + 20_000
    finally:
        tracemalloc.stop()
    [(_, view)] = reader.feed(pieces[-1])
    assert view == block


@given(_BLOCKS, st.integers(0, 3_000))
def test_a_cut_car_says_so_at_its_end(blocks: list[bytes], cut: int) -> None:
    named = [(cid_of(RAW, block), block) for block in blocks]
    car = _car(named)
    whole_ends = [len(_car(named[:count])) for count in range(len(named) + 1)]
    cut = min(cut, len(car))
    reader = CarReader()
    found = _read(reader, car[:cut])
    assert found == named[: len(found)]
    if cut in whole_ends:
        reader.close()
    else:
        with pytest.raises(MalformedError, match="cut"):
            reader.close()


def test_blocks_before_an_error_are_still_given() -> None:
    good = cid_of(RAW, b"good")
    arriving = CarReader().feed(_car([(good, b"good")]) + b"\x00")
    assert next(arriving)[0] == good
    with pytest.raises(MalformedError):
        next(arriving)


def _header(value: object) -> bytes:
    header = libipld.encode_dag_cbor(value)
    return encode_varint(len(header)) + header


@pytest.mark.parametrize(
    "car",
    [
        b"\x00",
        b"\xff" * 10,
        b"\x81\x08" + bytes(2_000),  # a header over 1 KiB
        b"\x80\x00",
        encode_varint(1_000) + b"\x81" * 1_000,
        encode_varint(1_000) + b"\xa1" * 1_000,
        _header([]),
        _header({"roots": [_ROOT.encode()], "version": 2}),
        _header({"roots": [_ROOT.encode()]}),
        _header({"roots": _ROOT.encode(), "version": 1}),
        _header({"roots": ["text"], "version": 1}),
        _header({"roots": [b"\x01\x55"], "version": 1}),
        _header({"roots": [], "version": 1, "more": 1}),
        _HEADER + b"\x00",
        _HEADER + b"\xff\xff\xff\xff\xff",
        _HEADER + encode_varint(MAX_BLOCK_BYTES + 200) + bytes(200),
        _HEADER + encode_varint(MAX_BLOCK_BYTES + 36 + 1) + _ROOT.encode() + bytes(200),
        _HEADER + b"\x23" + _ROOT.encode()[:-1],  # a CID longer than its section
        _HEADER + b"\x24\x02" + bytes(35),
    ],
)
def test_what_is_no_car_is_refused(car: bytes) -> None:
    with pytest.raises(MalformedError):
        _read(CarReader(), car)


def test_the_largest_block_is_read() -> None:
    block = bytes(MAX_BLOCK_BYTES)
    named = [(cid_of(RAW, block), block)]
    assert _read(CarReader(), _car(named)) == named


@given(
    st.sampled_from([b"", _HEADER[:5], _HEADER, _HEADER + b"\x26" + _ROOT.encode()]),
    st.lists(st.binary(max_size=60), max_size=4),
)
def test_any_bytes_are_blocks_or_malformed(beginning: bytes, pieces: list[bytes]) -> None:
    reader = CarReader()
    with contextlib.suppress(MalformedError):
        _read(reader, beginning, *pieces)
        reader.close()


@given(st.binary(max_size=70), st.integers(0, 69), st.integers(0, 255))
@settings(max_examples=200)
def test_a_header_with_a_wrong_byte_is_a_header_or_malformed(
    rest: bytes, at: int, byte: int
) -> None:
    car = bytearray(_HEADER + rest)
    car[at % len(car)] = byte
    with contextlib.suppress(MalformedError):
        _read(CarReader(), bytes(car))


@pytest.mark.parametrize(
    ("text", "size", "span"),
    [
        ("0:*", 100, (0, 100)),
        ("0:0", 100, (0, 1)),
        ("5:9", 100, (5, 10)),
        ("50:200", 100, (50, 100)),
        ("-10:*", 100, (90, 100)),
        ("-10:-1", 100, (90, 100)),
        ("-10:-5", 100, (90, 96)),
        ("5:-5", 100, (5, 96)),
        ("-1000:*", 100, (0, 100)),
        ("-1000:-500", 100, (0, 0)),
        ("100:*", 100, (100, 100)),
        ("200:300", 100, (100, 100)),
        ("-10:3", 100, (90, 90)),
        ("0:*", 0, (0, 0)),
        ("-1:0", 1, (0, 1)),
    ],
)
def test_entity_bytes_mean_what_ipip_402_says(text: str, size: int, span: tuple[int, int]) -> None:
    assert parse_entity_bytes(text).span(size) == span


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "1",
        "1:",
        ":1",
        "*:1",
        "1:2:3",
        "a:b",
        "5:4",
        "-1:-2",
        "+1:2",
        " 1:2",
        "\u0663:\u0664",
        "1:2\n",
        "0:" + "9" * 5_000,
    ],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_entity_bytes(text)


@given(st.text("0123456789:-*", max_size=12), st.integers(0, 2**40))
def test_any_text_is_a_range_or_malformed(text: str, size: int) -> None:
    with contextlib.suppress(MalformedError):
        start, stop = parse_entity_bytes(text).span(size)
        assert 0 <= start <= stop <= size


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_plain_range_is_what_it_says(first: int, length: int) -> None:
    assert EntityBytes(first, first + length).span(1_000) == (first, first + length + 1)
