from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content.metainfo import MAX_META_BYTES
from p2pfs.dht.kad.referrals import (
    pack_address,
    pack_referrals,
    parse_address,
    parse_referral,
    parse_referrals,
)
from p2pfs.dht.kad.wire import (
    HEADER_BYTES,
    MAX_DATAGRAM_BYTES,
    MAX_FIRST_BYTES,
    MAX_MESSAGE_BYTES,
    Find,
    Get,
    Kind,
    Outcome,
    Ping,
    Proof,
    Reply,
    Store,
    encode_reply,
    encode_request,
    parse_header,
    parse_reply,
    parse_request,
)
from p2pfs.dht.subjects import MAX_SUBJECT_BYTES
from p2pfs.errors import MalformedError

ID = bytes(range(20))
HEADER = b"\0" + ID
FOUR, SIX = Endpoint("192.0.2.1", 7117), Endpoint("2001:db8::1", 443)

requests = st.one_of(
    st.builds(Ping, token=st.none() | st.binary(min_size=16, max_size=16)),
    st.builds(
        Find,
        key=st.binary(min_size=20, max_size=20),
        nonce=st.binary(min_size=16, max_size=16),
        named=st.sampled_from([pack_address(FOUR), pack_address(SIX)]),
    ),
    st.builds(Get, key=st.binary(min_size=20, max_size=20)),
    st.builds(
        Store,
        subject=st.binary(min_size=1, max_size=80),
        value=st.binary(min_size=1, max_size=1024),
    ),
)
replies = st.builds(
    Reply,
    token=st.none() | st.binary(min_size=16, max_size=16),
    count=st.none() | st.integers(0, 1000),
    values=st.none() | st.lists(st.binary(min_size=1, max_size=300), max_size=3).map(tuple),
    more=st.integers(0, 1000),
    outcome=st.none() | st.sampled_from(Outcome),
)


def test_a_request_is_framed_as_rpcudp_frames_it() -> None:
    datagram = encode_request(ID, Get(token=b"t" * 16, key=b"k" * 20))
    body = b"\x82\xa1t\xc4\x10" + b"t" * 16 + b"\xa1k\xc4\x14" + b"k" * 20
    assert datagram == HEADER + b"\x92\xa3get\x91" + body
    assert parse_header(datagram) == (Kind.REQUEST, ID)


def test_a_challenge_has_these_bytes() -> None:
    reply = Reply(token=b"t" * 16)
    assert encode_reply(ID, reply) == b"\1" + ID + b"\x81\xa1t\xc4\x10" + b"t" * 16
    assert reply.is_challenge
    assert not Reply(token=b"t" * 16, count=0).is_challenge


def test_the_first_datagram_to_a_stranger_is_small() -> None:
    assert len(encode_request(ID, Ping(nonce=bytes(16)))) <= MAX_FIRST_BYTES


def test_the_longest_record_under_the_longest_subject_fits_a_datagram() -> None:
    request = Store(token=bytes(16), subject=bytes(MAX_SUBJECT_BYTES), value=bytes(MAX_META_BYTES))
    assert len(encode_request(ID, request)) <= MAX_MESSAGE_BYTES


def test_the_longest_record_fits_an_answer() -> None:
    reply = Reply(token=bytes(16), values=(bytes(MAX_META_BYTES),), more=2**31)
    assert len(encode_reply(ID, reply)) <= MAX_MESSAGE_BYTES


def test_twenty_referrals_and_a_proof_fit_a_datagram_in_ipv4() -> None:
    proof = Proof(bytes(32), bytes(64), 2**40, 65535, 65535)
    pairs = [(bytes(32), FOUR)] * 20
    four, _ = pack_referrals(pairs)
    reply = Reply(
        proof=proof, seen=pack_address(FOUR), token=bytes(16), referrals_4=four, count=2**31
    )
    assert len(encode_reply(ID, reply)) <= MAX_MESSAGE_BYTES
    assert parse_referrals(parse_reply(encode_reply(ID, reply)), parse_referral) == pairs


@given(requests)
def test_requests_survive_the_wire(request: object) -> None:
    assert parse_request(encode_request(ID, request)) == request  # type: ignore[arg-type]


@given(replies)
def test_replies_survive_the_wire(reply: Reply) -> None:
    assert parse_reply(encode_reply(ID, reply)) == reply


@given(st.binary(max_size=1300))
def test_arbitrary_bytes_are_malformed_or_a_message(datagram: bytes) -> None:
    for parse in (parse_header, parse_request, parse_reply, parse_address):
        try:
            parse(datagram)
        except MalformedError:
            continue


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.text(max_size=9)
        | st.binary(max_size=40),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from("tsnakuvpac46mo"), inner, max_size=5)
        ),
        max_leaves=12,
    )
)
@settings(max_examples=200)
def test_well_formed_msgpack_of_any_shape_is_malformed_or_a_message(value: object) -> None:
    raw = HEADER + msgspec.msgpack.encode(value)
    named = HEADER + msgspec.msgpack.encode(["find", [value]])
    for parse, datagram in ((parse_request, raw), (parse_request, named), (parse_reply, raw)):
        try:
            parsed = parse(datagram)
            if isinstance(parsed, Reply):
                parse_referrals(parsed, parse_referral)
        except MalformedError:
            continue


@pytest.mark.parametrize(
    "bomb", [b"\x91" * 1200, b"\x81\xa1x" * 390, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
)
def test_bombs_are_malformed(bomb: bytes) -> None:
    for parse in (parse_request, parse_reply):
        with pytest.raises(MalformedError):
            parse(HEADER + bomb)


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES, MAX_DATAGRAM_BYTES + 1])
def test_a_datagram_of_a_wrong_length_is_no_message(length: int) -> None:
    with pytest.raises(MalformedError):
        parse_header(bytes(length))


def test_keys_of_later_versions_are_ignored() -> None:
    body = msgspec.msgpack.encode(["ping", [{"zz": [1, {"y": 2}]}, "another argument"]])
    assert parse_request(HEADER + body) == Ping()
    assert parse_reply(HEADER + msgspec.msgpack.encode({"c": 3, "zz": {}})) == Reply(count=3)


@pytest.mark.parametrize("name", ["store_all", "__init__", "answer", "", "ping "])
def test_requests_of_no_known_name_are_malformed(name: str) -> None:
    with pytest.raises(MalformedError):
        parse_request(HEADER + msgspec.msgpack.encode([name, [{}]]))
