"""Who asks brings its own proof, and is listed without being asked back."""

from __future__ import annotations

import msgspec
import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.introductions import Introductions
from p2pfs.dht.kad.observed import Observed
from p2pfs.dht.kad.proof import Prover, introduced
from p2pfs.dht.kad.referrals import pack_address
from p2pfs.dht.kad.tokens import Tokens
from p2pfs.dht.kad.wire import Find, Ping, Request, Store, encode_request
from p2pfs.errors import MalformedError
from p2pfs.network import public_network
from tests.dht.kad.nodes import (
    NETWORK,
    Stranger,
    identity,
    open_node,
    open_stranger,
    wait_until,
)
from tests.samples import NOW
from tests.sim.world import World

ASKER, ASKED = Endpoint("192.0.2.1", 7117), Endpoint("198.51.100.2", 7117)
TOKEN, BACK = b"t" * 16, b"b" * 16
PROVER = Prover(identity(1), NETWORK, 7117, 8443)


def a_request(prover: Prover = PROVER, token: bytes = TOKEN, to: Endpoint = ASKED) -> Request:
    proof = prover.introduce(token, to, NOW)
    return Ping(token=TOKEN, proof=proof, nonce=bytes(16), named=pack_address(to))


def introductions(*, is_listed: bool = True, is_own: bool = True) -> Introductions:
    return Introductions(
        PROVER, Tokens(b"secret"), lambda: NOW, lambda _: is_listed, lambda _named, _source: is_own
    )


def test_an_introduction_says_who_asks_and_how_it_sees_the_asked_one() -> None:
    who = introduced(a_request(), ASKER, 7117, NETWORK)
    assert who.contact.public_key == identity(1).public_key
    assert who.contact.endpoint == ASKER
    assert who.contact.https == Endpoint(ASKER.ip, 8443)
    assert who.seen == ASKED
    assert who.time == NOW


def test_an_introduction_made_for_another_token_or_address_or_network_is_refused() -> None:
    hard = public_network("hard", puzzle_bits=64)
    passed_on = msgspec.structs.replace(a_request(), named=pack_address(ASKER))
    for request, network in (
        (a_request(token=b"x" * 16), NETWORK),
        (passed_on, NETWORK),
        (a_request(), public_network("another")),
        (a_request(Prover(identity(1), hard, 7117, 8443)), hard),
        (Ping(token=TOKEN, named=pack_address(ASKED)), NETWORK),
    ):
        with pytest.raises(MalformedError):
            introduced(request, ASKER, 7117, network)


@pytest.mark.parametrize("to", [Endpoint(ASKER.ip, 9_000), ASKER])
def test_what_was_meant_for_somebody_at_the_source_is_passed_on_by_him(to: Endpoint) -> None:
    """He was asked with it, and sends it on from where he is, or from another port of his."""
    with pytest.raises(MalformedError):
        introduced(a_request(to=to), ASKER, 7117, NETWORK)


def test_an_introduction_to_an_address_of_somebody_else_is_refused() -> None:
    assert introductions().checked(a_request(), ASKER)
    with pytest.raises(MalformedError):
        introductions(is_own=False).checked(a_request(), ASKER)


def test_a_proof_that_was_given_as_an_answer_introduces_nobody() -> None:
    answered = PROVER.prove(TOKEN, ASKED, pack_address(ASKER), NOW)
    request = msgspec.structs.replace(a_request(), proof=answered)
    with pytest.raises(MalformedError):
        introduced(request, ASKER, 7117, NETWORK)


def test_a_client_says_nothing_and_a_store_has_no_room() -> None:
    nameless = introductions(is_listed=False).signed(Ping(nonce=bytes(16)), TOKEN, ASKED)
    assert (nameless.token, nameless.asker, nameless.back) == (TOKEN, None, None)
    store = Store(subject=b"s", value=b"v")
    assert introductions().signed(store, TOKEN, ASKED).asker is None


def test_whoever_needs_no_proof_is_told_the_key_alone() -> None:
    request = introductions().signed(Find(key=bytes(20)), TOKEN, ASKED)
    assert request.sender == identity(1).public_key
    assert request.proof is None


def test_an_introduction_fits_well_into_a_datagram() -> None:
    named = pack_address(Endpoint("2001:db8::1", 7117))
    request = Find(key=bytes(20), nonce=bytes(16), named=named)
    assert len(encode_request(bytes(20), introductions().signed(request, TOKEN, ASKED))) < 300


async def introduce(stranger: Stranger, to: Endpoint, prover: Prover) -> None:
    token = await stranger.token(to)
    request = Find(
        token=token,
        proof=prover.introduce(token, to, NOW),
        back=BACK,
        nonce=bytes(16),
        named=pack_address(to),
        key=bytes(20),
    )
    assert (await stranger.ask(to, request)).proof is not None


async def test_who_introduces_itself_is_listed_and_not_asked_back() -> None:
    async with open_stranger() as stranger, open_node() as (victim, address):
        own = Prover(stranger.identity, NETWORK, stranger.endpoint.port, stranger.endpoint.port)
        await introduce(stranger, address, own)
        await wait_until(lambda: bool(victim.contacts()))
        assert victim.contacts()[0].public_key == stranger.identity.public_key
        # It looks for its own neighbours now, and has the token to do so.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stranger.serve)
            await wait_until(lambda: bool(stranger.asked))
            nursery.cancel_scope.cancel()
        assert {each.token for each in stranger.asked} == {BACK}


async def test_a_false_introduction_is_asked_back_and_lists_whoever_is_there() -> None:
    async with open_stranger() as liar, open_node() as (victim, address):
        await introduce(liar, address, Prover(identity(9), public_network("another"), 1, 1_024))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(liar.serve)
            await wait_until(lambda: bool(victim.contacts()))
            nursery.cancel_scope.cancel()
        listed = {each.public_key for each in victim.contacts()}
        assert listed == {liar.identity.public_key}


RELAYED = [
    ("2600::1", "9.9.9.9"),  # the relay's IPv6 address, while the reader knows its IPv4 alone
    ("9.9.9.8", "9.9.9.9"),  # another of its own
    ("192.168.1.66", "9.9.9.9"),  # in a LAN like the reader's
    ("127.0.0.1", "9.9.9.9"),  # as another user of the asker's machine
    ("192.168.1.66", "192.168.1.67"),  # in the reader's LAN
]


@pytest.mark.parametrize("knows_itself", [True, False])
@pytest.mark.parametrize(("asked", "source"), RELAYED)
def test_who_hands_out_the_readers_token_takes_no_key_to_another_address(
    monkeypatch: pytest.MonkeyPatch, asked: str, source: str, knows_itself: bool
) -> None:
    with World(4, k=8) as world:
        world.run(world.grow(3, settle=1))
        reader, asker = world.nodes[0].server, world.nodes[1].server
        if not knows_itself:
            monkeypatch.setattr(reader, "_bound_ips", list)  # every address, none in particular
            reader.observed = Observed(lambda _: False)
        relay_asked, relay = Endpoint(asked, 7117), Endpoint(source, 7117)
        token = reader._tokens.issue(relay, world.clock())
        request = Ping(nonce=bytes(16), named=pack_address(relay_asked))
        signed = asker.introductions.signed(request, token, relay_asked)
        with pytest.raises(MalformedError):
            reader.introductions.checked(signed, relay)


def test_whom_the_asker_meant_believes_it() -> None:
    with World(4, k=8) as world:
        world.run(world.grow(3, settle=1))
        reader, asker = world.nodes[0], world.nodes[1]
        token = reader.server._tokens.issue(asker.address, world.clock())
        request = Ping(nonce=bytes(16), named=pack_address(reader.address))
        signed = asker.server.introductions.signed(request, token, reader.address)
        who = reader.server.introductions.checked(signed, asker.address)
        assert who.contact.public_key == asker.identity.public_key


async def test_a_node_that_asks_a_stranger_introduces_itself() -> None:
    async with open_stranger() as stranger, trio.open_nursery() as nursery:
        nursery.start_soon(stranger.serve)
        own = identity(5)
        async with open_node(stranger.endpoint, own=own) as (node, address):
            await wait_until(lambda: bool(node.contacts()))
            first = stranger.asked[0]
            assert first.back is not None
            who = introduced(first, address, stranger.endpoint.port, NETWORK)
            assert who.contact.public_key == own.public_key
        nursery.cancel_scope.cancel()
