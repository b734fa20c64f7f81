from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.cid import DAG_PB, MAX_BLOCK_BYTES, RAW, Cid, cid_of, parse_cid
from p2pfs.content.dag_pb import Link, encode_node
from p2pfs.content.unixfs import (
    MAX_FILE_LINKS,
    DirectoryNode,
    Entry,
    FileNode,
    SymlinkNode,
    parse_block,
    parse_file,
    part,
)
from p2pfs.content.varint import MAX_INTEGER, encode_varint
from p2pfs.errors import MalformedError
from tests.content.dags import file_block

_RAW = cid_of(RAW, b"")
_NODE = cid_of(DAG_PB, b"")


def _parse(block: bytes) -> FileNode | DirectoryNode | SymlinkNode:
    return parse_block(_NODE, block)


def _message(message: str) -> bytes:
    return encode_node([], bytes.fromhex(message))


def _directory(*names: bytes) -> bytes:
    return encode_node([Link(_RAW, name, 7) for name in names], b"\x08\x01")


def test_a_raw_block_is_content_and_nothing_else() -> None:
    assert parse_block(_RAW, b"abc") == FileNode(3, 0, 3, ())
    with pytest.raises(MalformedError):
        parse_block(_RAW, bytes(MAX_BLOCK_BYTES + 1))


def test_the_empty_file_of_version_0_is_read() -> None:
    block = bytes.fromhex("0a0408021800")
    assert (
        cid_of(DAG_PB, block).multihash
        == parse_cid("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH").multihash
    )
    assert _parse(block) == FileNode(0, len(block), 0, ())


@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.sampled_from([_RAW, _NODE]), st.integers(0, 2**20)), max_size=5),
)
def test_a_file_states_its_own_content_and_its_children(
    own: bytes, children: list[tuple[Cid, int]]
) -> None:
    block = file_block(own, children)
    node = parse_file(_NODE, block)
    assert block[node.data_at : node.data_at + node.data_size] == own
    assert list(node.children) == children
    assert node.size == len(own) + sum(size for _, size in children)


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ("080212036162631803", 3),
        ("08001203616263", 3),  # type raw, and without its file size
        ("0802120361626318033a02ed01", 3),  # an unknown way to write the mode
        ("08021203616263180342070880e2cfaa0610", 3),  # a time, left unread
        ("0802120361626318034d01020304", 3),  # unknown: 4 bytes
        ("0802120361626318034901020304050607086801", 3),  # unknown: 8 bytes, varint
        ("080008021203616263", 3),  # of one field given twice the last counts
    ],
)
def test_optional_and_unknown_fields_are_passed_over(message: str, size: int) -> None:
    assert parse_file(_NODE, _message(message)).size == size


def test_block_sizes_may_be_packed() -> None:
    block = encode_node([Link(_RAW, b"", 3), Link(_RAW, b"", 4)], b"\x08\x02\x22\x02\x03\x04")
    assert parse_file(_NODE, block).children == ((_RAW, 3), (_RAW, 4))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        _message(""),  # no type
        _message("0803"),  # metadata
        _message("0809"),
        _message("0805"),  # a shard without its hash function
        _message("080212036162631804"),  # says 4, holds 3
        _message("08022003"),  # a size without its part
        _message("0802124061"),
        _message("0802180"[:-1] + "ff"),
        _message("08024d0102"),
        _message("08024b"),  # a wire type of old
        _message("08024f"),
        _message("0802" + "6801" * 2_000),  # too many fields that mean nothing
        _message("0802" + "22d00f" + "00" * 2_000),  # too many parts
        file_block(b"abc", [(_RAW, 5)], file_size=9),
        file_block(b"", [(_NODE, MAX_INTEGER), (_NODE, 1)], file_size=0),
        file_block(b"", [(_RAW, MAX_BLOCK_BYTES + 1)]),
        file_block(b"", [(parse_cid("bafkqaaa"), 1)]),
        file_block(b"", [(_RAW, 1)] * (MAX_FILE_LINKS + 1)),
        encode_node([Link(_RAW, b"", 3)], b"\x08\x02"),  # a part without its size
    ],
)
def test_a_node_that_does_not_add_up_is_refused(block: bytes) -> None:
    with pytest.raises(MalformedError):
        _parse(block)


def test_a_node_as_wide_as_the_widest_profile_is_read() -> None:
    block = file_block(b"", [(_RAW, MAX_BLOCK_BYTES)] * MAX_FILE_LINKS)
    assert parse_file(_NODE, block).size == MAX_FILE_LINKS * MAX_BLOCK_BYTES


def test_a_directory_is_not_a_file() -> None:
    with pytest.raises(MalformedError, match="not a file"):
        parse_file(_NODE, _directory(b"a"))


def test_a_directory_keeps_its_order_and_strange_names() -> None:
    names = ["b", "a", "é ü.txt", "\x1b[31m", "x" * 300, " ", "..."]
    node = _parse(_directory(*(name.encode() for name in names)))
    assert node == DirectoryNode(tuple(Entry(name, _RAW, 7) for name in names))


@pytest.mark.parametrize(
    "names",
    [[b""], [b"."], [b".."], [b"a/b"], [b"/"], [b"a\0"], [b"\xff"], [b"a", b"b", b"a"]],
)
def test_a_directory_is_whole_or_refused(names: list[bytes]) -> None:
    with pytest.raises(MalformedError):
        _parse(_directory(b"fine", *names))


def test_a_symbolic_link_states_its_target() -> None:
    assert _parse(_message("08041203612f62")) == SymlinkNode("a/b")


@pytest.mark.parametrize(
    "block",
    [
        _message("0804"),
        _message("0804120100"),
        _message("08041201ff"),
        encode_node([], b"\x08\x04\x12" + encode_varint(5_000) + b"a" * 5_000),
        encode_node([Link(_RAW, b"", 1)], b"\x08\x04\x12\x01a"),
    ],
)
def test_a_target_that_no_link_can_have_is_refused(block: bytes) -> None:
    with pytest.raises(MalformedError):
        _parse(block)


def test_a_root_cannot_be_of_a_size_that_its_block_cannot_have() -> None:
    assert part(_NODE, 2**50).size == 2**50
    for cid, size in ((_RAW, MAX_BLOCK_BYTES + 1), (parse_cid("bafkqaaa"), 3)):
        with pytest.raises(MalformedError):
            part(cid, size)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x08\x01", b"\x08\x02", b"\x08\x04"]))
def test_any_message_says_something_or_is_malformed(message: bytes, beginning: bytes) -> None:
    with contextlib.suppress(MalformedError):
        _parse(encode_node([], beginning + message))


@given(st.binary(max_size=80))
def test_any_block_says_something_or_is_malformed(block: bytes) -> None:
    with contextlib.suppress(MalformedError):
        _parse(block)


@given(st.integers(0, 2_000), st.integers(0, 255))
def test_a_file_with_a_wrong_byte_is_a_file_or_malformed(at: int, byte: int) -> None:
    block = bytearray(file_block(b"own", [(_RAW, 9), (_NODE, 10), (_RAW, 11)]))
    block[at % len(block)] = byte
    with contextlib.suppress(MalformedError):
        node = parse_file(_NODE, bytes(block))
        assert node.size == node.data_size + sum(child.size for child in node.children)


@pytest.mark.parametrize(
    "block",
    [
        # A million links of 2 bytes, of 8, and as many fields: each ends at its limit.
        b"\x12\x00" * 1_000_000,
        b"\x12\x06\x0a\x04\x01\x55\x00\x00" * 250_000,
        encode_node([], b"\x68\x01" * 1_000_000),
        encode_node([], b"\x08\x02\x22" + encode_varint(2_000_000) + bytes(2_000_000)),
    ],
)
def test_a_full_block_costs_little(block: bytes) -> None:
    started = time.process_time()
    with pytest.raises(MalformedError):
        _parse(block)
    assert time.process_time() - started < 2  # a second is what the slowest machine may take
