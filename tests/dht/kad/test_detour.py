"""Requests over HTTPS as hostile ends make and answer them; no HTTP here, only its bodies."""

from __future__ import annotations

import asyncio
import random
import time

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.detour import Detour, reply_in
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.kad.proof import Prover
from p2pfs.dht.kad.referrals import pack_address, parse_referral, parse_referrals
from p2pfs.dht.kad.sealed import Envelope
from p2pfs.dht.kad.wire import (
    HEADER_BYTES,
    MAX_DATAGRAM_BYTES,
    Dial,
    Dialed,
    Find,
    Get,
    Outcome,
    Ping,
    Reach,
    Reply,
    Request,
    Store,
    encode_reply,
    encode_request,
    parse_reply,
    parse_request,
)
from p2pfs.dht.records import create_provider_record
from p2pfs.dht.subjects import provider_subject, tag_subject
from p2pfs.errors import MalformedError, UnreachableError
from p2pfs.identity import Identity
from tests.dht.kad.nodes import (
    LOOPBACK,
    NETWORK,
    cid_of,
    expiry,
    free_port,
    identity,
    meta_of,
    open_node,
    wait_until,
)

ASKER = Endpoint(LOOPBACK, 50_000)
FAR = Endpoint("8.8.8.8", 50_000)
SONG = cid_of(b"song")


async def ask(node: KadOverlay, request: Request, source: Endpoint = ASKER) -> Reply:
    raw = await node.answer(encode_request(bytes(20), request), source)
    assert raw is not None
    assert len(raw) <= MAX_DATAGRAM_BYTES
    return parse_reply(raw)


_BODIES = {
    "nothing": b"",
    "a header alone": bytes(HEADER_BYTES),
    "no message": bytes(100),
    "more than a datagram": encode_request(bytes(20), Ping()) + bytes(MAX_DATAGRAM_BYTES),
    "a reply": encode_reply(bytes(20), Reply(count=1)),
    "a request that is none": b"\0" + bytes(20) + msgspec.msgpack.encode(("drop", ({},))),
    "a nesting bomb": b"\0" + bytes(20) + b"\x91" * 1_200,
    "a key of the wrong length": b"\0"
    + bytes(20)
    + msgspec.msgpack.encode(("find", ({"k": b""},))),
    "a dial-back for an address of TCP": encode_request(bytes(20), Reach(dial_nonce=bytes(16))),
    "a dial-back for somebody else": encode_request(
        bytes(20), Dial(dial_nonce=bytes(16), target=pack_address(FAR))
    ),
    "evidence that no datagram gave": encode_request(bytes(20), Dialed(dial_nonce=bytes(16))),
}


@pytest.mark.parametrize("body", _BODIES.values(), ids=_BODIES)
async def test_a_hostile_body_is_refused_and_harms_nothing(body: bytes) -> None:
    async with open_node() as (node, _):
        with pytest.raises(MalformedError):
            await node.answer(body, ASKER)
        assert await ask(node, Ping()) == Reply()


@given(st.binary(max_size=1_300))
def test_any_bytes_are_answered_or_refused(body: bytes) -> None:
    async def answer() -> None:
        async with open_node() as (node, _):
            for each in (body, b"\0" + bytes(20) + body):
                try:
                    await node.answer(each, ASKER)
                except MalformedError:
                    continue

    trio.run(answer)


async def test_the_handshake_stands_for_the_token_and_none_is_given() -> None:
    async with open_node() as (node, address):
        request = Find(key=bytes(20), nonce=bytes(16), named=pack_address(address))
        for token in (None, bytes(16)):
            reply = await ask(node, msgspec.structs.replace(request, token=token))
            assert (reply.token, reply.count) == (None, 0)
            assert reply.seen == pack_address(ASKER)


async def test_whoever_asks_is_a_client_whatever_he_says() -> None:
    async with open_node() as (node, _), open_node() as (other, address):
        for source in (ASKER, address):  # the second would answer if it was asked back
            await ask(node, Find(key=bytes(20), sender=other.public_key), source)
        await trio.sleep(0.2)
        assert node.contacts() == ()
        assert not node._server.acquaintances.was_asked(address)
        assert not node._server.reachability.is_heard(float("-inf"))


async def test_an_address_that_does_not_count_is_refused() -> None:
    async with open_node() as (node, _):
        for ip in ("10.1.2.3", "224.0.0.1", "0.0.0.0"):  # noqa: S104 never bound
            with pytest.raises(MalformedError):
                await ask(node, Ping(), Endpoint(ip, 50_000))


async def test_one_ip_has_one_budget_from_whatever_port() -> None:
    async with open_node() as (node, _):
        body = encode_request(bytes(20), Ping())
        answers = [await node.answer(body, Endpoint(FAR.ip, 2_000 + n)) for n in range(1_200)]
        assert 1_000 <= sum(answer is not None for answer in answers) < 1_200
        assert await node.answer(body, Endpoint("9.9.9.9", 2_000)) is not None


async def test_records_are_checked_as_those_of_datagrams_are() -> None:
    publisher = identity()
    meta = meta_of(publisher, b"song", "jazz")
    foreign = create_provider_record(
        [SONG.multihash], [Endpoint("127.0.0.9", 7117)], expiry(), publisher.private_key, NETWORK
    )
    async with open_node() as (node, _):
        for subject, value in (
            (tag_subject("jazz").encode(), b"anything"),
            (tag_subject("rock").encode(), meta.encoded),
            (b"no subject", meta.encoded),
            (provider_subject(SONG.multihash).encode(), foreign.encoded),
        ):
            assert (await ask(node, Store(subject=subject, value=value))).outcome == Outcome.WRONG
        subject = tag_subject("jazz")
        good = Store(subject=subject.encode(), value=meta.encoded)
        assert (await ask(node, good)).outcome == Outcome.STORED
        assert (await ask(node, Get(key=subject.key))).values == (meta.encoded,)


async def test_referrals_are_those_that_count_for_the_asker() -> None:
    async with open_node() as (node, address), open_node(address) as (_, other):
        await wait_until(lambda: len(node.contacts()) == 1)
        near = parse_referrals(await ask(node, Find(key=bytes(20))), parse_referral)
        assert [each for _, each in near] == [other]
        assert parse_referrals(await ask(node, Find(key=bytes(20)), FAR), parse_referral) == []


class Web:
    """HTTPS as a hostile node answers it: whatever `reply` makes of a request, under its key."""

    def __init__(self, address: Endpoint, own: Identity) -> None:
        self.own = own
        self.key = own.public_key
        self.asked: list[Request] = []
        self.to: list[Endpoint] = []
        self._prover = Prover(own, NETWORK, address.port, address.port)

    async def post(self, to: Endpoint, body: bytes) -> tuple[bytes, bytes]:
        request = parse_request(body)
        self.asked.append(request)
        self.to.append(to)
        return self.reply(body[1:HEADER_BYTES], request), self.key

    def reply(self, message_id: bytes, request: Request) -> bytes:
        return encode_reply(message_id, self.honest(request))

    def honest(self, request: Request) -> Reply:
        if request.nonce is None or request.named is None:
            return Reply(count=0)
        proof = self._prover.prove(request.nonce, ASKER, request.named, 0)
        return Reply(count=0, proof=proof, seen=pack_address(ASKER))


async def joins(web: Web, address: Endpoint) -> bool:
    """Whether a node whose datagrams nobody answers takes that one as a contact, once it asked."""
    async with open_node(address) as (node, _), trio.open_nursery() as nursery:
        nursery.start_soon(node.tending.offer_detour, web.post)
        with trio.fail_after(10):
            await wait_until(lambda: bool(web.asked))
        with trio.move_on_after(1):
            await wait_until(lambda: len(node.contacts()) == 1)
        nursery.cancel_scope.cancel()
        return node.is_blocked and len(node.contacts()) == 1


@pytest.fixture
def silent() -> Endpoint:
    return Endpoint(LOOPBACK, free_port())


async def test_who_answers_by_https_alone_is_a_contact(silent: Endpoint) -> None:
    web = Web(silent, identity())
    assert await joins(web, silent)
    assert set(web.to) == {silent}
    assert {(each.token, each.sender) for each in web.asked} == {(None, None)}


async def test_a_proof_of_somebody_else_is_not_believed(silent: Endpoint) -> None:
    web = Web(silent, identity())
    web.key = identity().public_key
    assert not await joins(web, silent)


async def test_a_reply_to_another_request_is_not_believed(silent: Endpoint) -> None:
    class Confused(Web):
        def reply(self, _: bytes, request: Request) -> bytes:
            return encode_reply(bytes(20), self.honest(request))

    web = Confused(silent, identity())
    assert not await joins(web, silent)
    assert web.asked


@given(st.binary(max_size=1_300))
def test_whatever_is_answered_is_a_reply_or_refused(raw: bytes) -> None:
    for each in (raw, b"\1" + bytes(20) + raw):
        try:
            assert isinstance(reply_in(each, bytes(20)), Reply)
        except MalformedError:
            continue


@pytest.mark.parametrize(
    "raw", [b"", b"\1" * 1_300, b"\1" + bytes(20) + b"\xc1"], ids=["nothing", "more", "no map"]
)
async def test_noise_for_an_answer_makes_no_contact(silent: Endpoint, raw: bytes) -> None:
    class Noisy(Web):
        def reply(self, _: bytes, __: Request) -> bytes:
            return raw

    web = Noisy(silent, identity())
    assert not await joins(web, silent)
    assert web.asked


async def test_https_that_never_answers_costs_three_seconds_and_not_more(silent: Endpoint) -> None:
    async def never(_to: Endpoint, _body: bytes) -> tuple[bytes, bytes]:
        await trio.sleep_forever()
        raise AssertionError

    async with open_node(silent) as (node, _), trio.open_nursery() as nursery:
        nursery.start_soon(node.tending.offer_detour, never)
        with trio.fail_after(6):
            await node.wait_settled()
        assert not node.is_blocked
        nursery.cancel_scope.cancel()


def test_whoever_waits_for_his_turn_when_https_ends_gets_an_answer() -> None:
    async def run() -> list[object]:
        envelope = Envelope(None, time.time, random.Random(1))
        dice, now = random.Random(1), time.monotonic
        detour = Detour(envelope, dice, now, lambda _: True, lambda to: to, lambda: None)
        ends = asyncio.Event()

        async def post(*_: object) -> tuple[bytes, bytes]:
            await ends.wait()
            raise UnreachableError("the node is stopping")

        detour.post = post
        asking = [asyncio.create_task(detour.ask(FAR, Ping())) for _ in range(65)]
        await asyncio.sleep(0)
        detour.post = None
        ends.set()
        return list(await asyncio.gather(*asking, return_exceptions=True))

    assert {type(said) for said in asyncio.run(run())} == {SilentError}
