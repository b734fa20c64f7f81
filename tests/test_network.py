import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.errors import MalformedError
from p2pfs.network import DEFAULT_PUZZLE_BITS, Network, private_network, public_network
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


SECRET = b"correct horse battery staple"


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 for one block, by the standard library."""
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\1", "sha256")


def test_all_of_a_private_network_follows_from_its_name_and_secret() -> None:
    network = private_network("family", SECRET)
    assert network.id == hkdf(SECRET, b"family", b"p2pfs-network-1")
    assert network.members is not None
    assert network.members.seal == hkdf(SECRET, b"family", b"p2pfs-seal-1")
    assert network.members.authority == hkdf(SECRET, b"", b"p2pfs-ca-1")
    assert (network.name, network.puzzle_bits) == ("family", 0)
    assert private_network("p2pfs", SECRET).puzzle_bits == 0
    assert private_network("family", SECRET, 0) == network
    others = private_network("family", SECRET, 8), private_network("other", SECRET)
    assert len({network.id, *(each.id for each in others), public_network("family").id}) == 4


def test_keys_do_not_show_in_what_is_logged() -> None:
    network = private_network("family", SECRET)
    assert network.members is not None
    assert repr(network.members.seal) not in repr(network)
    assert repr(network.members.authority) not in repr(network)


@pytest.mark.parametrize("secret", [b"", b"x" * 15, b"x" * 1_025])
def test_a_secret_that_can_be_guessed_or_is_another_file_is_refused(secret: bytes) -> None:
    with pytest.raises(MalformedError, match="16 to 1024"):
        private_network("family", secret)
