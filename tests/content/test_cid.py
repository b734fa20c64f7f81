from __future__ import annotations

import contextlib
import hashlib

import libipld
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.cid import (
    DAG_PB,
    MAX_INLINE_BYTES,
    RAW,
    Cid,
    base58,
    block_matches,
    cid_of,
    cid_v0_of,
    parse_cid,
    raw_cid,
    read_cid,
)
from p2pfs.errors import MalformedError

_HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
_HASHED = st.builds(cid_of, st.sampled_from([RAW, DAG_PB]), st.binary(max_size=9))
_V0 = st.builds(cid_v0_of, st.binary(max_size=9))


def _inline(codec: int, content: bytes) -> Cid:
    length = len(content)
    encoded = bytes((length,)) if length < 128 else b"\x80\x01"
    return Cid(1, codec, b"\0" + encoded + content)


_INLINE = st.builds(_inline, st.sampled_from([RAW, DAG_PB]), st.binary(max_size=MAX_INLINE_BYTES))
_CIDS = st.one_of(_HASHED, _V0, _INLINE)


@pytest.mark.parametrize(
    "text",
    [
        _HELLO,
        _HELLO.upper(),
        "zb2rhj7crUKTQYRGCRATFaQ6YFLTde2YzdqbbhAASkL9uRDXn",
        "k2cwued9o1pvrt3q271rrqbo49x30tbxwpoeaq75z14e5ui2rzygpbe1",
        "f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
        "F01551220B94D27B9934D3E08A52E52D7DA7DABFAC484EFE37A5380EE9088F7ACE2EFCDE9",
    ],
)
def test_one_cid_has_a_spelling_in_each_base(text: str) -> None:
    cid = parse_cid(text)
    assert cid == cid_of(RAW, b"hello world")
    assert str(cid) == _HELLO
    assert cid.digest == hashlib.sha256(b"hello world").digest()


@given(st.sampled_from("bBzfFkK"), st.one_of(_HASHED, _INLINE))
def test_every_base_is_spelt_as_libipld_spells_it(base: str, cid: Cid) -> None:
    assert parse_cid(libipld.encode_multibase(base, cid.encode())) == cid


def test_versions_of_one_content_share_the_multihash() -> None:
    old = parse_cid("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH")
    assert (old.version, old.codec) == (0, DAG_PB)
    assert str(old) == "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"
    assert old != old.v1
    assert old.v1.v1 == old.v1
    assert str(old.v1).startswith("bafybei")
    assert old.multihash == parse_cid(str(old.v1)).multihash


def test_the_probe_carries_its_empty_content() -> None:
    probe = parse_cid("bafkqaaa")
    assert probe.is_identity
    assert probe.inline == b""
    assert block_matches(probe, b"")
    assert not block_matches(probe, b"x")
    assert cid_of(RAW, b"").inline is None


@given(_CIDS)
def test_a_cid_reads_back_from_text_and_bytes(cid: Cid) -> None:
    assert parse_cid(str(cid)) == cid
    raw = cid.encode()
    assert read_cid(raw, 0) == (cid, len(raw))
    assert read_cid(memoryview(b"ab" + raw + b"cd"), 2) == (cid, 2 + len(raw))
    assert parse_cid("f" + cid.v1.encode().hex()) == cid.v1


@given(st.binary(max_size=50))
def test_a_block_matches_its_own_cid_alone(block: bytes) -> None:
    for cid in (cid_of(RAW, block), cid_v0_of(block), _inline(RAW, block)):
        assert block_matches(cid, block)
        assert block_matches(cid, memoryview(block))
        assert block_matches(cid, bytearray(block))
        assert not block_matches(cid, block + b"\0")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Q",
        "Qm",
        "b",
        "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5f",  # other trailing bits
        _HELLO[:-1],
        _HELLO + "a",
        _HELLO + "aa",
        _HELLO + "=",
        _HELLO[:10] + _HELLO[10:].upper(),
        " " + _HELLO,
        "m" + _HELLO,
        "zQmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",  # version 0 has no prefix
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQ",
        "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",  # dag-cbor
        "f01551320" + "00" * 32,  # sha2-512
        "f0155121f" + "00" * 31,  # SHA-256 of 31 bytes
        "f01d5001220" + "00" * 32,  # the codec spelt longer than it must be
        "f02551220" + "00" * 32,  # version 2
        "f0155008101" + "00" * 129,  # identity of 129 bytes
        "f" + "00" * 5_000,
        "z" + "1" * 100_000,
        "K" + "ß" * 9,
        "b\u0661\u0662",
    ],
)
def test_what_is_no_cid_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_cid(text)


@given(st.one_of(st.text(max_size=80), st.text("bBzfFkKQm12ay", max_size=80)))
def test_any_text_is_a_cid_or_malformed(text: str) -> None:
    with contextlib.suppress(MalformedError):
        assert parse_cid(str(parse_cid(text))) == parse_cid(text)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x01\x55", b"\x01\x70\x00", b"\x12\x20"]))
def test_any_bytes_are_a_cid_or_malformed(raw: bytes, beginning: bytes) -> None:
    raw = beginning + raw
    with contextlib.suppress(MalformedError):
        cid, end = read_cid(raw, 0)
        assert cid.encode() == raw[:end]


def test_base58_keeps_leading_zeros() -> None:
    assert base58(b"\0\0hello world") == "11StV1DL6CwTryKyV"
    assert base58(b"") == ""


def test_a_raw_cid_comes_from_a_digest() -> None:
    assert str(raw_cid(hashlib.sha256(b"hello world").digest())) == _HELLO
