import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.errors import MalformedError
from p2pfs.network import DEFAULT_PUZZLE_BITS, Network, public_network
from tests.samples import NETWORK, key, public_key


def test_ids_are_these() -> None:
    default = public_network()
    assert default.id == hashlib.sha256(b"p2pfs-network-1p2pfs").digest()
    assert default.puzzle_bits == DEFAULT_PUZZLE_BITS == 16
    expected = hashlib.sha256(b"p2pfs-node-1" + default.id + public_key()).digest()[:20]
    assert default.node_id(public_key()) == expected


def test_other_networks_have_no_puzzle_unless_it_is_part_of_their_id() -> None:
    assert NETWORK.puzzle_bits == 0
    assert public_network("test", 0) == NETWORK
    assert public_network("test", 8).id != NETWORK.id
    assert public_network("p2pfs", 16) == public_network()
    assert public_network("p2pfs", 0).id != public_network().id


def test_the_puzzle_counts_leading_zero_bits() -> None:
    digest = hashlib.sha256(b"p2pfs-puzzle-1" + public_key()).digest()
    zeros = 256 - int.from_bytes(digest, "big").bit_length()
    assert Network("x", b"", zeros).key_counts(public_key())
    assert not Network("x", b"", zeros + 1).key_counts(public_key())
    assert not NETWORK.key_counts(public_key()[:31])
    assert not NETWORK.key_counts(b"")


def test_a_signature_covers_domain_network_and_body() -> None:
    signature = NETWORK.sign(key(), "domain", b"body")
    assert NETWORK.signed_bytes("domain", b"body") == b"domain\0" + NETWORK.id + b"body"
    NETWORK.verify(public_key(), "domain", b"body", signature)
    for attempt in (
        (public_key(), "other", b"body", signature),
        (public_key(), "domain", b"other", signature),
        (public_key(1), "domain", b"body", signature),
        (public_key(), "domain", b"body", signature[:-1]),
    ):
        with pytest.raises(MalformedError):
            NETWORK.verify(*attempt)
    with pytest.raises(MalformedError):
        public_network("other").verify(public_key(), "domain", b"body", signature)


@given(st.binary(max_size=40), st.binary(max_size=70))
@settings(max_examples=50)
def test_arbitrary_keys_and_signatures_are_refused(public: bytes, signature: bytes) -> None:
    with pytest.raises(MalformedError):
        NETWORK.verify(public, "domain", b"body", signature)
