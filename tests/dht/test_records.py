import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content import dag_cbor
from p2pfs.content.cid import Cid, raw_cid
from p2pfs.content.signedmap import encode_signed
from p2pfs.dht.records import (
    PROVIDER_DOMAIN,
    ProviderRecord,
    create_provider_record,
    parse_provider_record,
    record_of,
    subjects_of,
    verified,
    verified_meta,
    verified_provider,
)
from p2pfs.dht.subjects import (
    MAX_PROVIDER_BYTES,
    meta_subject,
    provider_subject,
    tag_shard,
    tag_subject,
)
from p2pfs.errors import MalformedError
from tests.samples import DAY, HERE, NETWORK, NOW, key, meta, multihash, provider, public_key

GOLDEN_PROVIDER = (
    "a6617601626174818300447f000001191bcd63736967584022268eb010edb89a04b9ecee636d853e8962dec6"
    "e39960181aece607f3ca9df15dc48663873e833e17b70e68daaad7768d99cc856a9ee7f47300178e2fd1b906"
    "67657870697265731a6b4b2380697075626c697368657258203b6a27bcceb6a42d62a3a8d02a6f0d73653215"
    "771de243a63ac048a18b59da296b6d756c746968617368657381582212200000000000000000000000000000"
    "000000000000000000000000000000000000"
)


def test_the_bytes_of_a_provider_record_are_these() -> None:
    assert provider().encoded.hex() == GOLDEN_PROVIDER


def test_what_was_created_is_what_is_parsed() -> None:
    made = provider()
    assert parse_provider_record(made.encoded, NETWORK) == made
    assert (made.publisher, made.addresses) == (public_key(), (HERE,))
    assert made.multihashes == (multihash(0),)


def test_as_many_multihashes_as_fit_are_kept() -> None:
    many = [multihash(number) for number in range(20)]
    v4 = create_provider_record(many, [HERE], NOW, key(), NETWORK)
    v6 = create_provider_record(many, [Endpoint("::1", 7117)] * 5, NOW, key(), NETWORK)
    assert len(v4.multihashes) == 16
    assert len(v6.multihashes) == 15
    assert len(v6.addresses) == 4
    assert v6.multihashes == tuple(many[:15])
    assert len(v6.encoded) <= MAX_PROVIDER_BYTES


def _provider_with(**changes: object) -> bytes:
    fields = dag_cbor.decode(provider().encoded)
    assert isinstance(fields, dict)
    del fields["sig"]
    return encode_signed({**fields, **changes}, key(), PROVIDER_DOMAIN, NETWORK)


@pytest.mark.parametrize(
    "changes",
    [
        {"multihashes": []},
        {"multihashes": [multihash(0)] * 2},
        {"multihashes": [multihash(n) for n in range(17)]},
        {"multihashes": [b"\x00\x03abc"]},
        {"multihashes": [dag_cbor.Link(raw_cid(bytes(32)).encode())]},
        {"multihashes": multihash(0)},
        {"at": [[0, b"\x7f\0\0\1", 7117]] * 5},
        {"at": [[1, b"\x7f\0\0\1"]]},
        {"at": {}},
        {"expires": -1},
        {"publisher": b""},
        {"filler": bytes(MAX_PROVIDER_BYTES)},
    ],
)
def test_a_field_outside_its_limits_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parse_provider_record(_provider_with(**changes), NETWORK)


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_arbitrary_bytes_are_no_record(raw: bytes) -> None:
    for subject in (provider_subject(multihash(0)), tag_subject("music")):
        with pytest.raises(MalformedError):
            verified(subject, raw, NETWORK, NOW)


def test_only_its_publisher_may_store_a_provider_record() -> None:
    def told(*addresses: object) -> ProviderRecord:
        return parse_provider_record(_provider_with(at=list(addresses), later=1), NETWORK)

    ip = bytes((192, 168, 0, 7))
    assert told([0, ip, 7117]).may_come_from("192.168.0.7")
    assert told([1, ip, 7117]).may_come_from("192.168.0.7")  # iroh counts as direct
    assert told([2, ip, 7117, b"", 0, b""]).may_come_from("8.8.8.8")
    assert not told([0, ip, 7117]).may_come_from("192.168.0.8")
    assert not told([2, ip, 7117], [0, ip, 7117]).may_come_from("192.168.0.8")
    assert not told([9, ip]).may_come_from("192.168.0.7")
    assert not told().may_come_from("192.168.0.7")


def test_a_provider_record_lives_a_day_at_most() -> None:
    subject = provider_subject(multihash(0))
    for expires in (NOW + DAY + 300, NOW - 299):
        raw = provider(expires=expires).encoded
        assert verified_provider(subject, raw, NETWORK, NOW).expires == expires
    for expires in (NOW + DAY + 301, NOW - 300):
        with pytest.raises(MalformedError):
            verified_provider(subject, provider(expires=expires).encoded, NETWORK, NOW)


def test_a_record_must_mention_its_subject() -> None:
    made = meta()
    root = made.cid.multihash
    for subject in subjects_of(made):
        assert verified_meta(subject, made.encoded, NETWORK, NOW) == made
    for subject in (
        tag_subject("other"),
        tag_subject("word:other"),
        tag_subject("blue"),  # a word is no tag
        meta_subject(multihash(9)),
        provider_subject(root),
    ):
        with pytest.raises(MalformedError):
            verified(subject, made.encoded, NETWORK, NOW)
    with pytest.raises(MalformedError):
        verified_meta(provider_subject(root), made.encoded, NETWORK, NOW)
    with pytest.raises(MalformedError):
        verified_provider(provider_subject(multihash(9)), provider().encoded, NETWORK, NOW)
    with pytest.raises(MalformedError):
        verified_provider(meta_subject(multihash(0)), provider().encoded, NETWORK, NOW)


def test_a_shard_of_a_hot_tag_takes_only_its_own() -> None:
    made = meta()
    mine = tag_shard(made.cid.multihash)
    assert verified(tag_subject("music", 1, mine), made.encoded, NETWORK, NOW) == made
    with pytest.raises(MalformedError):
        verified(tag_subject("music", 1, (mine + 1) % 128), made.encoded, NETWORK, NOW)


def test_a_meta_info_stands_under_its_root_tags_and_words() -> None:
    assert [subject.parts[0] for subject in subjects_of(meta())] == [
        multihash(0),
        "artist:a-name",
        "audio",
        "music",
        "title:blue-notes",
        "word:notes",
        "word:blue",
        "word:mp3",
    ]
    assert subjects_of(provider()) == (provider_subject(multihash(0)),)


def test_both_versions_of_a_cid_are_one_content() -> None:
    old = Cid(0, 0x70, multihash(0))
    assert subjects_of(meta(cid=old))[0] == subjects_of(meta())[0]


def test_a_digest_names_a_value_in_eight_bytes() -> None:
    record = record_of(provider_subject(multihash(0)), provider())
    assert record.digest == hashlib.sha256(record.value).digest()[:8]
