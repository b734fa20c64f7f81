from __future__ import annotations

import msgspec
import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.proof import Prover, proven, proven_over_tls
from p2pfs.dht.kad.referrals import pack_address
from p2pfs.dht.kad.wire import Ping, Reply
from p2pfs.errors import MalformedError
from p2pfs.network import public_network
from tests.dht.kad.nodes import NETWORK, identity

ASKER, ASKED = Endpoint("192.0.2.1", 7117), Endpoint("192.0.2.2", 7117)
PROVER = Prover(identity(1), NETWORK, 7117, 8443)
REQUEST = Ping(nonce=b"n" * 16, named=pack_address(ASKED))


def _reply(prover: Prover = PROVER, asked: Endpoint = ASKED) -> Reply:
    proof = prover.prove(b"n" * 16, ASKER, pack_address(asked), 1_800_000_000.5)
    return Reply(proof=proof, seen=pack_address(ASKER))


def test_a_proof_says_who_is_there_and_how_it_sees_the_asker() -> None:
    found = proven(_reply(), REQUEST, ASKED, 7117, NETWORK)
    assert found.contact.public_key == identity(1).public_key
    assert found.contact.node_id == NETWORK.node_id(identity(1).public_key)
    assert found.contact.endpoint == ASKED
    assert found.contact.https == Endpoint(ASKED.ip, 8443)
    assert found.seen == ASKER


def test_a_proof_for_another_address_is_somebody_elses() -> None:
    with pytest.raises(MalformedError):
        proven(_reply(asked=ASKER), REQUEST, ASKED, 7117, NETWORK)


def test_a_proof_for_another_nonce_is_an_old_one() -> None:
    other = Ping(nonce=b"m" * 16, named=pack_address(ASKED))
    with pytest.raises(MalformedError):
        proven(_reply(), other, ASKED, 7117, NETWORK)


def test_a_proof_of_another_network_counts_for_nothing() -> None:
    with pytest.raises(MalformedError):
        proven(_reply(), REQUEST, ASKED, 7117, public_network("another"))


def test_a_key_that_does_not_solve_the_puzzle_counts_for_nothing() -> None:
    hard = public_network("hard", puzzle_bits=64)
    prover = Prover(identity(1), hard, 7117, 8443)
    with pytest.raises(MalformedError):
        proven(_reply(prover), REQUEST, ASKED, 7117, hard)


@pytest.mark.parametrize("field", ["public_key", "signature"])
def test_a_changed_proof_does_not_hold(field: str) -> None:
    reply = _reply()
    assert reply.proof is not None
    flipped = bytes([getattr(reply.proof, field)[0] ^ 1]) + getattr(reply.proof, field)[1:]
    changed = msgspec.structs.replace(reply.proof, **{field: flipped})
    with pytest.raises(MalformedError):
        proven(msgspec.structs.replace(reply, proof=changed), REQUEST, ASKED, 7117, NETWORK)


def test_ports_and_the_asker_are_covered() -> None:
    reply = _reply()
    assert reply.proof is not None
    for changed in (
        msgspec.structs.replace(reply, seen=pack_address(ASKED)),
        msgspec.structs.replace(reply, proof=msgspec.structs.replace(reply.proof, https_port=443)),
        msgspec.structs.replace(reply, proof=None),
        msgspec.structs.replace(reply, seen=None),
    ):
        with pytest.raises(MalformedError):
            proven(changed, REQUEST, ASKED, 7117, NETWORK)


def test_a_proof_that_was_passed_on_from_the_address_asked_does_not_hold() -> None:
    behind = Endpoint(ASKED.ip, 7200)  # from here the one in between asks its victim
    proof = PROVER.prove(b"n" * 16, behind, pack_address(ASKED), 0)
    reply = Reply(proof=proof, seen=pack_address(behind))
    with pytest.raises(MalformedError):
        proven(reply, REQUEST, ASKED, 7117, NETWORK)
    assert proven(reply, REQUEST, ASKED, 7200, NETWORK)  # two nodes on one machine


def test_an_https_port_that_no_peer_may_have_does_not_count() -> None:
    prover = Prover(identity(1), NETWORK, 7117, 22)
    with pytest.raises(MalformedError):
        proven(_reply(prover), REQUEST, ASKED, 7117, NETWORK)


def test_over_a_connection_the_proof_is_by_its_other_end_and_the_port_seen_says_nothing() -> None:
    key = identity(1).public_key
    from_tcp = Endpoint(ASKER.ip, 50_000)
    proof = PROVER.prove(b"n" * 16, from_tcp, pack_address(ASKED), 0)
    reply = Reply(proof=proof, seen=pack_address(from_tcp))
    found = proven_over_tls(reply, REQUEST, ASKED, 7117, NETWORK, key)
    assert (found.contact.public_key, found.contact.endpoint) == (key, ASKED)
    assert found.seen == ASKER
    with pytest.raises(MalformedError):
        proven_over_tls(reply, REQUEST, ASKED, 7117, NETWORK, identity(2).public_key)
    with pytest.raises(MalformedError):
        proven_over_tls(reply, REQUEST, ASKER, 7117, NETWORK, key)
