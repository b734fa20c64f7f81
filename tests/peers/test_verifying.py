from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content.car import block_prefix, encode_header
from p2pfs.content.cid import Cid, block_matches, cid_of
from p2pfs.errors import MalformedError
from p2pfs.peers.errors import WrongBlockError
from p2pfs.peers.verifying import CarVerifier
from tests.content.dags import Dag, balanced, file_block, trickle
from tests.peers.fakes import car

CONTENT = bytes(range(256))
FILE = balanced(CONTENT)


def verifier(dag: Dag = FILE, start: int = 0, stop: int | None = None) -> CarVerifier:
    span = (start, dag.size if stop is None else stop)
    return CarVerifier(dag.root, dag.size, span, lambda _: None)


def accepted(check: CarVerifier, raw: bytes, step: int = 10**9) -> dict[int, bytes]:
    """Content by offset, hashed as a receiver does."""
    found = {}
    for at in range(0, len(raw), step):
        check.feed(memoryview(raw[at : at + step]))
        for cid, start, content in check.take().pieces:
            assert cid is None or block_matches(cid, content)
            found[start] = bytes(content)
    check.close()
    return found


@given(st.binary(max_size=600), st.integers(1, 700), st.data())
@settings(max_examples=60)
def test_a_right_car_is_the_content_however_it_is_cut(
    content: bytes, step: int, data: st.DataObject
) -> None:
    dag = data.draw(st.sampled_from([balanced, trickle]))(content)
    found = accepted(verifier(dag), car(dag), step)
    assert b"".join(found[start] for start in sorted(found)) == content


@given(st.integers(0, 255), st.integers(1, 256))
def test_a_range_brings_the_blocks_that_overlap_it(start: int, length: int) -> None:
    stop = min(256, start + length)
    found = accepted(verifier(FILE, start, stop), car(FILE, start, stop))
    joined = b"".join(found[at] for at in sorted(found))
    first = min(found)
    assert joined[start - first : stop - first] == CONTENT[start:stop]
    assert len(joined) < stop - start + 32


def test_a_size_that_is_not_known_is_found_out() -> None:
    check = CarVerifier(FILE.root, None, (0, 1), lambda _: None)
    assert accepted(check, car(FILE, 0, 1)) == {0: CONTENT[:16]}


def test_a_wrong_node_is_refused_at_once() -> None:
    raw = bytearray(car(FILE))
    raw[raw.index(FILE.blocks[FILE.root]) + 40] ^= 1
    with pytest.raises(WrongBlockError):
        verifier().feed(memoryview(raw))


def test_what_came_before_a_wrong_block_can_still_be_taken() -> None:
    check = verifier()
    raw = car(FILE)
    other = b"another block"
    cid = cid_of(0x55, other)
    at = raw.index(block_prefix(cid_of(0x55, CONTENT[64:80]), 16))
    with pytest.raises(WrongBlockError, match="not what belongs there"):
        check.feed(memoryview(raw[:at] + block_prefix(cid, len(other)) + other))
    assert [piece.start for piece in check.take().pieces] == [0, 16, 32, 48]


def test_a_leaf_of_another_size_is_its_senders_fault_unless_its_hash_is_right() -> None:
    leaf = cid_of(0x55, CONTENT[:16])
    raw = car(FILE).replace(
        block_prefix(leaf, 16) + CONTENT[:16], block_prefix(leaf, 17) + CONTENT[:17]
    )
    with pytest.raises(WrongBlockError, match="does not match"):
        verifier().feed(memoryview(raw))


def test_an_answer_that_is_cut_or_goes_on_is_refused() -> None:
    raw = car(FILE)
    for cut in (raw[:-1], raw[:-20], raw[: len(raw) // 2], b""):
        check = verifier()
        check.feed(memoryview(cut))
        with pytest.raises(WrongBlockError):
            check.close()
    with pytest.raises(WrongBlockError):
        verifier().feed(memoryview(raw + block_prefix(FILE.root, 1) + b"x"))


def test_a_broken_file_is_not_the_peers_fault() -> None:
    block = file_block(b"", [(cid_of(0x55, b"ab"), 2)], file_size=3)
    root = cid_of(0x70, block)
    raw = encode_header(root) + block_prefix(root, len(block)) + block
    with pytest.raises(MalformedError):
        CarVerifier(root, None, (0, 9), lambda _: None).feed(memoryview(raw))


def test_known_nodes_are_not_given_again() -> None:
    first = verifier(FILE, 0, 16)
    first.feed(memoryview(car(FILE, 0, 16)))
    assert FILE.root in dict(first.take().nodes)
    again = CarVerifier(FILE.root, FILE.size, (0, 16), FILE.lookup)
    again.feed(memoryview(car(FILE, 0, 16)))
    assert not again.take().nodes


def test_an_inline_file_needs_no_block() -> None:
    root = Cid(1, 0x55, b"\x00\x05hello")
    check = CarVerifier(root, 5, (0, 5), lambda _: None)
    assert [bytes(piece.content) for piece in check.take().pieces] == [b"hello"]
    assert accepted(check, encode_header(root)) == {}


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_raise_anything_but_the_two_errors(noise: bytes, at: int) -> None:
    raw = car(FILE)
    for hostile in (noise, raw[:at] + noise, raw[:at] + noise + raw[at:]):
        check = verifier()
        try:
            check.feed(memoryview(hostile))
            check.close()
        except (WrongBlockError, MalformedError):
            continue
        assert hashlib.sha256(hostile).digest() == hashlib.sha256(raw).digest()
