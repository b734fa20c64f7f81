import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.errors import MalformedError, UsageError
from p2pfs.identity import (
    Identity,
    create_identity,
    load_identity,
    parse_peer_id,
    parse_private_key,
    peer_id,
    public_key_of_certificate,
    read_identity,
)
from p2pfs.network import public_network
from tests.samples import NETWORK, key, public_key

LIGHT_PUZZLE = public_network("test", 4)


def test_the_peer_id_is_libp2ps() -> None:
    # A key and its id as libp2p writes them.
    public = bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
    assert peer_id(public) == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    assert Identity(key()).peer_id == peer_id(public_key())


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_is_read_back(public_key: bytes) -> None:
    assert parse_peer_id(peer_id(public_key)) == public_key


@given(st.text() | st.text("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"))
def test_any_other_text_is_no_peer_id(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_peer_id(text)


def test_a_created_identity_is_loaded_again_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "identity.key"
    assert load_identity(path, LIGHT_PUZZLE) is None
    created = create_identity(path, LIGHT_PUZZLE)
    loaded = load_identity(path, LIGHT_PUZZLE)
    assert loaded is not None
    assert loaded.public_key == created.public_key
    assert LIGHT_PUZZLE.key_counts(created.public_key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["identity.key"]


def test_what_a_crash_left_behind_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "identity.new").write_bytes(b"half")
    created = create_identity(tmp_path / "identity.key", NETWORK)
    loaded = load_identity(tmp_path / "identity.key", NETWORK)
    assert loaded is not None
    assert loaded.public_key == created.public_key


def test_an_unusable_key_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(b"short")
    with pytest.raises(UsageError, match="not a p2pfs key"):
        load_identity(path, NETWORK)
    path.write_bytes(bytes(32))
    with pytest.raises(UsageError, match="puzzle"):
        load_identity(path, public_network("test", 60))
    assert read_identity(path) is not None  # it is a key all the same
    with pytest.raises(UsageError, match="cannot read"):
        load_identity(tmp_path, NETWORK)


def test_the_certificate_carries_the_key_and_tls_takes_both(tmp_path: Path) -> None:
    identity = Identity(key())
    certificate = identity.certificate_pem()
    der = ssl.PEM_cert_to_DER_cert(certificate.decode())
    assert public_key_of_certificate(der) == identity.public_key
    assert identity.certificate_pem() == certificate
    both = tmp_path / "both.pem"
    both.write_bytes(certificate + identity.private_key_pem())
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(both)


def test_a_certificate_with_another_kind_of_key_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    mine = x509.load_pem_x509_certificate(Identity(key()).certificate_pem())
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, serial_number=1)
        .public_key(other.public_key())
        .not_valid_before(mine.not_valid_before_utc)
        .not_valid_after(mine.not_valid_after_utc)
        .sign(key(), None)
    )
    with pytest.raises(ValueError, match="Ed25519"):
        public_key_of_certificate(certificate.public_bytes(serialization.Encoding.DER))
    # A key type that nobody knows: the algorithm's identifier changed within the certificate.
    der = mine.public_bytes(serialization.Encoding.DER)
    unknown = der.replace(
        bytes.fromhex("300506032b6570032100"), bytes.fromhex("300506032b657f032100")
    )
    for wrong in (unknown, b"", b"garbage", der[:-1]):
        with pytest.raises(ValueError):
            public_key_of_certificate(wrong)


@given(st.binary(max_size=200))
def test_bytes_are_a_key_or_refused(text: bytes) -> None:
    try:
        key = parse_private_key(text)
    except MalformedError:
        return
    assert key.private_bytes_raw() == text


def test_a_key_is_read_back_from_pem_and_no_other_kind_is() -> None:
    pem = Identity(key()).private_key_pem()
    assert parse_private_key(pem).private_bytes_raw() == key().private_bytes_raw()
    other = ec.generate_private_key(ec.SECP256R1())
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    with pytest.raises(MalformedError, match="Ed25519"):
        parse_private_key(other.private_bytes(*kinds, serialization.NoEncryption()))
    with pytest.raises(MalformedError, match="unencrypted"):
        parse_private_key(
            key().private_bytes(*kinds, serialization.BestAvailableEncryption(b"secret"))
        )
