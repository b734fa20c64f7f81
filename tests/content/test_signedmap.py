import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content import dag_cbor
from p2pfs.content.signedmap import encode_signed, parse_signed, signed_length
from p2pfs.errors import MalformedError
from p2pfs.network import Network, public_network
from tests.samples import NETWORK, key, public_key

DOMAIN = "p2pfs-test-1"
FIELDS = {"publisher": public_key(), "x": 7}


def signed(signer: int = 0, **changes: object) -> bytes:
    return encode_signed({**FIELDS, **changes}, key(signer), DOMAIN, NETWORK)


def parsed(
    raw: bytes, domain: str = DOMAIN, network: Network = NETWORK, max_bytes: int = 1024
) -> dict[str, object]:
    return parse_signed(raw, domain, network, max_bytes)


def resigned(fields: dict[str, object]) -> bytes:
    """As `encode_signed`, but of any fields, `v` included."""
    signature = NETWORK.sign(key(), DOMAIN, dag_cbor.encode(fields))
    return dag_cbor.encode({**fields, "sig": signature})


def test_the_bytes_are_these() -> None:
    assert signed().hex() == (
        "a4"
        "617601"
        "617807"
        "637369675840"
        "82d5d7f8470097fb3e9b8525a3e84fae10afab6a010059c9c4309968612b8e1d"
        "ee508935ff9b606331edffe4e12af1f04ad4eaa5136cac96b596482622121504"
        "697075626c69736865725820"
        "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    )


def test_what_was_signed_comes_back_without_its_signature() -> None:
    assert parsed(signed()) == {**FIELDS, "v": 1}


def test_unknown_keys_are_kept_and_covered() -> None:
    raw = signed(later={"link": dag_cbor.Link(b"whatever"), "bytes": bytes.fromhex("1220")})
    assert parsed(raw)["later"]["link"] == dag_cbor.Link(b"whatever")
    at = raw.index(b"whatever")
    with pytest.raises(MalformedError, match="signature"):
        parsed(raw[:at] + b"W" + raw[at + 1 :])


@given(st.integers(0, len(signed()) - 1), st.integers(1, 255))
@settings(max_examples=300)
def test_no_byte_can_be_changed(at: int, difference: int) -> None:
    raw = bytearray(signed())
    raw[at] ^= difference
    with pytest.raises(MalformedError):
        parsed(bytes(raw))


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parsed(raw)


def test_another_network_domain_or_signer_is_refused() -> None:
    for attempt in (
        lambda: parsed(signed(), network=public_network("other")),
        lambda: parsed(signed(), domain="p2pfs-test-2"),
        lambda: parsed(signed(signer=1)),
    ):
        with pytest.raises(MalformedError, match="signature"):
            attempt()


def test_a_key_that_does_not_solve_the_puzzle_is_refused() -> None:
    hard = Network(NETWORK.name, NETWORK.id, 60)
    with pytest.raises(MalformedError, match="puzzle"):
        parsed(signed(), network=hard)


@pytest.mark.parametrize("version", [0, 2, True, "1", None])
def test_an_unknown_version_is_refused(version: object) -> None:
    with pytest.raises(MalformedError, match="version"):
        parsed(resigned({**FIELDS, "v": version}))


def test_a_map_without_version_signer_or_signature_is_refused() -> None:
    for fields in ({"v": 1, "x": 1}, {"v": 1, "publisher": b"short"}):
        with pytest.raises(MalformedError):
            parsed(resigned(fields))
    with pytest.raises(MalformedError):
        parsed(dag_cbor.encode({**FIELDS, "v": 1}))
    with pytest.raises(MalformedError):
        parsed(dag_cbor.encode([1]))


def test_the_limit_is_on_the_bytes_and_exact() -> None:
    raw = signed()
    assert len(raw) == signed_length(FIELDS)
    assert parsed(raw, max_bytes=len(raw))
    with pytest.raises(MalformedError):
        parsed(raw, max_bytes=len(raw) - 1)
