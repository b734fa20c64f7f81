from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.dht.kad.answers import Answers
from p2pfs.dht.kad.budget import RateLimit
from p2pfs.dht.kad.estimate import SizeEstimate
from p2pfs.dht.kad.proof import Prover, proven
from p2pfs.dht.kad.referrals import MAX_REFERRALS, pack_address, parse_referral, parse_referrals
from p2pfs.dht.kad.stores import StoreDesk
from p2pfs.dht.kad.table import Table
from p2pfs.dht.kad.tokens import Tokens
from p2pfs.dht.kad.wire import (
    MAX_MESSAGE_BYTES,
    Dial,
    Dialed,
    Find,
    Get,
    Ping,
    Proof,
    Reach,
    Reply,
    Request,
    Store,
    encode_reply,
    encode_request,
    parse_request,
)
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.records import record_of, verified_record
from p2pfs.dht.subjects import tag_subject
from tests.dht.kad.nodes import NETWORK, contact, expiry, identity, meta_of

GLOBAL, HERE = Endpoint("8.8.8.8", 7117), Endpoint("127.0.0.1", 7117)
OWN = identity(1)
NOW = expiry() - 3600


class Node:
    """The answering half of a node, without a socket."""

    def __init__(self) -> None:
        neighbourhood = Neighbourhood()
        self.own_id = NETWORK.node_id(OWN.public_key)
        self.tokens = Tokens(b"secret")
        self.table = Table(self.own_id, lambda _: True)
        self.records = MemoryRecordStore()
        self.dialbacks: list[tuple[object, ...]] = []
        self.greeted: list[tuple[Request, Endpoint]] = []
        desk = StoreDesk(
            self.own_id,
            NETWORK,
            neighbourhood,
            self.records,
            SizeEstimate(),
            RateLimit(1, 2),
            _clock,
        )
        self.answers = Answers(
            prover=Prover(OWN, NETWORK, 7117, 7117),
            tokens=self.tokens,
            table=self.table,
            records=self.records,
            desk=desk,
            neighbourhood=neighbourhood,
            rate=RateLimit(1, 5),
            is_welcome=lambda source: source.ip != "10.0.0.1",
            may_be_own=lambda named: named.ip != "9.9.9.9",
            greet=lambda request, source: self.greeted.append((request, source)),
            clock=_clock,
            monotonic=_clock,
            dialbacks=self,  # type: ignore[arg-type]  # what it hears of them is noted
        )

    def reach(self, nonce: bytes, asker: Endpoint) -> None:
        self.dialbacks.append(("reach", nonce, asker))

    def dial(self, nonce: bytes, packed: bytes, teller: Endpoint) -> None:
        self.dialbacks.append(("dial", nonce, packed, teller))

    def dialed(self, nonce: bytes, source: Endpoint) -> None:
        self.dialbacks.append(("dialed", nonce, source))

    def ask(
        self, make: Callable[[bytes], Request], source: Endpoint = HERE, length: int = 100
    ) -> Reply | None:
        return self.answers.answer(make(self.tokens.issue(source, NOW)), source, length)


def _clock() -> float:
    return float(NOW)


def test_without_a_token_there_is_a_token_and_no_more() -> None:
    node = Node()
    reply = node.answers.answer(Find(key=bytes(20)), GLOBAL, 60)
    assert reply is not None
    assert reply.is_challenge
    assert node.greeted == []


SONG = meta_of(OWN, b"song", "jazz")
nonces = st.none() | st.binary(min_size=16, max_size=16)
named = st.none() | st.just(pack_address(HERE))
requests = st.one_of(
    st.builds(Ping, token=st.none() | st.binary(min_size=16, max_size=16)),
    st.builds(
        Find,
        token=st.none() | st.binary(min_size=16, max_size=16),
        nonce=nonces,
        named=named,
        key=st.binary(min_size=20, max_size=20),
    ),
    st.builds(Get, nonce=nonces, named=named, key=st.just(tag_subject("jazz").key)),
    st.builds(Store, subject=st.binary(min_size=1, max_size=80), value=st.binary(min_size=1)),
    st.builds(Store, subject=st.just(tag_subject("jazz").encode()), value=st.just(SONG.encoded)),
    st.builds(Reach, dial_nonce=st.just(bytes(16))),
    st.builds(Dial, dial_nonce=st.just(bytes(16)), target=st.just(pack_address(HERE))),
    st.builds(Dialed, dial_nonce=st.just(bytes(16))),
)


@given(requests)
@settings(deadline=None)
def test_no_reply_to_an_unproven_address_costs_more_than_its_request(request: Request) -> None:
    node = Node()
    node.table.admit(contact(2), NOW)
    node.records.put(record_of(tag_subject("jazz"), meta_of(OWN, b"song", "jazz")), HERE.ip, NOW)
    sent = encode_request(bytes(20), request)
    reply = node.answers.answer(parse_request(sent), GLOBAL, len(sent))
    assert reply is None or len(encode_reply(bytes(20), reply)) <= len(sent)


@given(requests, st.integers(0, 60), st.integers(0, 60), st.booleans())
@settings(deadline=None)
def test_no_reply_to_anybody_costs_more_than_a_datagram(
    request: Request, sixes: int, records: int, is_old_token: bool
) -> None:
    node = Node()
    for number in range(60):
        ip = f"2600:{number:x}::1" if number < sixes else f"8.{number}.1.1"
        node.table.admit(contact(number, ip), NOW)
    for number in range(records):
        node.records.put(
            record_of(tag_subject("jazz"), meta_of(identity(number), b"song", "jazz")), HERE.ip, NOW
        )
    token = node.tokens.issue(GLOBAL, NOW - 300 * is_old_token)
    reply = node.answers.answer(msgspec.structs.replace(request, token=token), GLOBAL, 200)
    assert reply is None or len(encode_reply(bytes(20), reply)) <= MAX_MESSAGE_BYTES
    connected = None if isinstance(request, Reach | Dial | Dialed) else request
    if connected is not None:
        reply = node.answers.answer_connected(connected, GLOBAL)
        assert reply is not None
        assert len(encode_reply(bytes(20), reply)) <= MAX_MESSAGE_BYTES


def test_whoever_sends_less_than_a_token_costs_gets_nothing() -> None:
    node = Node()
    assert node.answers.answer(Ping(), GLOBAL, 41) is None
    assert node.answers.answer(Ping(), GLOBAL, 42) is not None


def test_a_source_of_a_scope_that_does_not_count_gets_nothing() -> None:
    assert Node().answers.answer(Ping(), Endpoint("10.0.0.1", 7117), 100) is None


def test_a_token_of_the_last_epoch_is_renewed_in_passing() -> None:
    node = Node()
    old = node.tokens.issue(HERE, NOW - 300)
    reply = node.answers.answer(Find(key=bytes(20), token=old), HERE, 100)
    assert reply is not None
    assert reply.token == node.tokens.issue(HERE, NOW)
    assert reply.count == 0


def test_requests_of_one_far_ip_are_limited_and_those_of_near_ones_not() -> None:
    node = Node()
    far = [node.ask(lambda token: Ping(token=token), GLOBAL) for _ in range(9)]
    assert [reply is not None for reply in far] == [True] * 5 + [False] * 4
    assert all(node.ask(lambda token: Ping(token=token)) is not None for _ in range(50))


def test_a_nonce_is_answered_with_a_proof() -> None:
    node = Node()
    request = Ping(token=node.tokens.issue(GLOBAL, NOW), nonce=b"n" * 16, named=pack_address(HERE))
    reply = node.answers.answer(request, GLOBAL, 100)
    assert reply is not None
    assert proven(reply, request, HERE, 7117, NETWORK).contact.public_key == OWN.public_key


@pytest.mark.parametrize("named", [pack_address(Endpoint("9.9.9.9", 7117)), b"\1" * 5])
def test_a_question_that_was_put_to_another_address_gets_no_proof(named: bytes) -> None:
    node = Node()
    request = Ping(token=node.tokens.issue(GLOBAL, NOW), nonce=b"n" * 16, named=named)
    reply = node.answers.answer(request, GLOBAL, 100)
    assert reply is not None
    assert reply.proof is None


def test_referrals_fit_a_datagram_in_both_families_and_leave_out_the_asker() -> None:
    node = Node()
    for number in range(200):
        ip = f"8.8.{number}.1" if number % 2 else f"2606:4700::{number:x}"
        node.table.admit(contact(number, ip), NOW)
    asker = node.table.closest(bytes(20))[0]
    reply = node.ask(
        lambda token: Find(
            key=bytes(20),
            token=token,
            sender=asker.public_key,
            nonce=bytes(16),
            named=pack_address(Endpoint("2606:4700::1", 7117)),
        ),
        Endpoint("2606:4700::ffff", 7117),
    )
    assert reply is not None
    assert len(encode_reply(bytes(20), reply)) <= MAX_MESSAGE_BYTES
    referred = parse_referrals(reply, parse_referral)
    assert len(referred) == 20
    assert asker.public_key not in {key for key, _ in referred}


def test_twenty_referrals_fit_beside_the_largest_of_all_else() -> None:
    largest = Reply(
        token=bytes(16),
        proof=Proof(bytes(32), bytes(64), 2**63, 65_535, 65_535),
        seen=bytes(18),
        referrals_6=bytes(MAX_REFERRALS * 50),
        count=2**31 - 1,
    )
    for of_ipv4 in range(MAX_REFERRALS + 1):
        reply = msgspec.structs.replace(
            largest,
            referrals_4=bytes(of_ipv4 * 38),
            referrals_6=bytes((MAX_REFERRALS - of_ipv4) * 50),
        )
        assert len(encode_reply(bytes(20), reply)) <= MAX_MESSAGE_BYTES


def test_loopback_contacts_are_not_told_to_the_world() -> None:
    node = Node()
    node.table.admit(contact(1), NOW)
    node.table.admit(contact(2, "9.9.9.9"), NOW)
    reply = node.ask(lambda token: Find(key=bytes(20), token=token), GLOBAL)
    assert reply is not None
    assert parse_referrals(reply, parse_referral) == [
        (contact(2).public_key, Endpoint("9.9.9.9", 1026))
    ]


def test_records_come_whole_and_the_rest_is_counted() -> None:
    node, subject = Node(), tag_subject("jazz")
    for number in range(30):
        meta = meta_of(identity(2), b"%d" % number, "jazz")
        node.records.put(verified_record(subject, meta.encoded, NETWORK, NOW), HERE.ip, NOW)
    reply = node.ask(lambda token: Get(key=subject.key, token=token))
    assert reply is not None
    assert reply.values
    assert len(reply.values) + reply.more == 30
    assert len(encode_reply(bytes(20), reply)) <= MAX_MESSAGE_BYTES
    found = node.ask(lambda token: Find(key=subject.key, token=token))
    assert found is not None
    assert found.count == 30


def test_a_dialback_is_brought_about_only_for_who_has_a_token() -> None:
    node, nonce, packed = Node(), b"n" * 16, pack_address(Endpoint("9.9.9.9", 7117))
    reply = node.answers.answer(Reach(dial_nonce=nonce), GLOBAL, 100)
    assert reply is not None
    assert reply.is_challenge
    assert node.dialbacks == []
    assert node.ask(lambda token: Reach(token=token, dial_nonce=nonce), GLOBAL) == Reply()
    node.ask(lambda token: Dial(token=token, dial_nonce=nonce, target=packed), GLOBAL)
    assert node.dialbacks == [("reach", nonce, GLOBAL), ("dial", nonce, packed, GLOBAL)]


def test_a_dialled_nonce_is_taken_and_never_answered() -> None:
    node = Node()
    assert node.answers.answer(Dialed(dial_nonce=b"n" * 16), GLOBAL, 100) is None
    assert node.dialbacks == [("dialed", b"n" * 16, GLOBAL)]
