"""The authority of a private network is the same for all who know the secret."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from p2pfs.authority import authority_certificate, member_certificate
from p2pfs.identity import public_key_of_certificate
from tests.samples import key, public_key

SEED = b"\7" * 32


def test_the_authority_is_the_same_byte_for_byte() -> None:
    assert (
        hashlib.sha256(authority_certificate(SEED)).hexdigest()
        == "05097b18bc3905f678c6deb0aecd4163fc5b461d4f6dad14cda9aa589d50a7fb"
    )


def test_a_member_is_certified_by_it_and_keeps_its_own_key() -> None:
    authority = x509.load_der_x509_certificate(authority_certificate(SEED))
    raw = member_certificate(SEED, Ed25519PublicKey.from_public_bytes(public_key()))
    member = x509.load_der_x509_certificate(raw)
    member.verify_directly_issued_by(authority)
    assert public_key_of_certificate(raw) == public_key()
    assert member.subject != member.issuer
    assert member.serial_number != authority.serial_number


def test_members_have_serial_numbers_of_their_own() -> None:
    serials = {
        x509.load_der_x509_certificate(
            member_certificate(SEED, key(number).public_key())
        ).serial_number
        for number in range(20)
    }
    assert len(serials) == 20
