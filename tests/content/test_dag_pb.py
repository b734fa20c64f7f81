from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.cid import MAX_BLOCK_BYTES, RAW, cid_of, parse_cid
from p2pfs.content.dag_pb import Link, encode_node, parse_node
from p2pfs.content.varint import MAX_INTEGER
from p2pfs.errors import MalformedError

_CID = cid_of(RAW, b"")
_LINKS = st.lists(
    st.builds(
        Link,
        st.builds(cid_of, st.just(RAW), st.binary(max_size=4)),
        st.binary(max_size=200),
        st.integers(0, MAX_INTEGER),
    ),
    max_size=6,
)
_HASH = "0a09 0155 0005 6162636465".replace(" ", "")  # an identity CID of `abcde`


def _node(*fields: str) -> bytes:
    return bytes.fromhex("".join(fields))


def _link(body: str) -> str:
    return f"12{len(body) // 2:02x}{body}"


def test_links_come_before_data_and_empty_names_are_written() -> None:
    link = Link(parse_cid("bafkqaaa"), b"", 5)
    assert encode_node([link], b"\x08\x01").hex() == "120a0a0401550000120018050a020801"


@given(_LINKS, st.binary(max_size=300))
def test_a_node_reads_back(links: list[Link], data: bytes) -> None:
    block = encode_node(links, data)
    node = parse_node(block, len(links))
    assert node.links == links
    assert block[node.data_at : node.data_end] == data


def test_data_may_come_first_as_old_encoders_wrote_it() -> None:
    node = parse_node(_node("0a0161", _link(_HASH), _link(_HASH)), 2)
    assert len(node.links) == 2
    assert (node.data_at, node.data_end) == (2, 3)


def test_an_empty_block_is_an_empty_node() -> None:
    assert parse_node(b"", 9) == ([], 0, 0)


def test_names_and_sizes_may_be_missing() -> None:
    [link] = parse_node(_node(_link(_HASH)), 1).links
    assert (link.name, link.tsize) == (b"", 0)
    assert link.cid.inline == b"abcde"


@pytest.mark.parametrize(
    "block",
    [
        _node(_link("")),  # no CID
        _node(_link("1200" + _HASH)),  # out of order
        _node(_link(_HASH + _HASH)),
        _node(_link(_HASH + "18011801")),
        _node(_link(_HASH + "2001")),  # an unknown field
        _node(_link("0a0a015500056162636465ff")),  # goes on behind the CID
        _node(_link("0a08015500056162636465")),  # a CID that is cut
        _node("0a0161", "0a0161"),
        _node(_link(_HASH), "0a0161", _link(_HASH)),  # links in two places
        _node("0a05616263"),
        _node("0801"),
        _node("120b", _HASH, "18"),
        _node(_link(_HASH), _link(_HASH), _link(_HASH)),  # one more than allowed
        b"\x0a" + b"\xff" * 10_000,
        bytes(MAX_BLOCK_BYTES + 1),
    ],
)
def test_what_is_no_node_is_refused(block: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_node(block, 2)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_node_or_malformed(block: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_node(block, 2)


@given(_LINKS, st.binary(max_size=20), st.integers(0, 400), st.integers(0, 255))
def test_a_node_with_a_wrong_byte_is_a_node_or_malformed(
    links: list[Link], data: bytes, at: int, byte: int
) -> None:
    block = bytearray(encode_node(links, data))
    block[at % len(block)] = byte
    with contextlib.suppress(MalformedError):
        parse_node(bytes(block), 10)
