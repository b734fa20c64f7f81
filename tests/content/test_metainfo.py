import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.content import dag_cbor
from p2pfs.content.cid import Cid, raw_cid
from p2pfs.content.metainfo import (
    DOMAIN,
    MAX_META_BYTES,
    MAX_NAME_BYTES,
    MetaInfo,
    create_meta,
    next_seq,
    parse_kept_meta,
    parse_meta,
    published_name,
    withdraw_meta,
)
from p2pfs.content.signedmap import encode_signed
from p2pfs.errors import MalformedError
from p2pfs.network import public_network
from tests.samples import DAY, HERE, NETWORK, NOW, description, key, meta, public_key

GOLDEN = (
    "ac617601626174818300447f000001191bcd63636964d82a5825000155122000000000000000000000000000"
    "00000000000000000000000000000000000000637365711b000001a3185c5000637369675840db254945cb40"
    "8fdde9b3f350e98e0780398c5f4b3578f60c4edc6d3d1fa5d3002814397a4f7f45d370754ee0ca7feee92183"
    "6239a73d8e76118ee5941c1bfd02646d696d656a617564696f2f6d706567646e616d656e426c7565204e6f74"
    "65732e6d70336473697a651a004c4b406474616773846d6172746973743a612d6e616d6565617564696f656d"
    "75736963707469746c653a626c75652d6e6f7465736563726333321acafef00d67657870697265731a6b4b23"
    "80697075626c697368657258203b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da"
    "29"
)


def changed(remove: tuple[str, ...] = (), **changes: object) -> bytes:
    """The sample's bytes with fields changed, signed anew."""
    fields = dag_cbor.decode(meta().encoded)
    del fields["sig"]
    kept = {name: value for name, value in {**fields, **changes}.items() if name not in remove}
    return encode_signed(kept, key(), DOMAIN, NETWORK)


def parsed(raw: bytes) -> MetaInfo:
    return parse_meta(raw, NETWORK, NOW)


def test_the_bytes_are_these() -> None:
    assert meta().encoded.hex() == GOLDEN


def test_what_was_created_is_what_is_parsed() -> None:
    made = meta()
    assert parsed(made.encoded) == made
    assert made.tags == ("artist:a-name", "audio", "music", "title:blue-notes")
    assert made.publisher == public_key()
    assert made.at == (HERE,)
    assert not made.withdrawn


def test_it_is_found_by_its_tags_and_by_the_words_of_name_and_title() -> None:
    made = meta(name="Track 1.mp3")
    assert made.title == "blue-notes"
    assert made.index_tags == (*made.tags, "word:notes", "word:track", "word:blue", "word:mp3")


@pytest.mark.parametrize(
    "changes",
    [
        {"cid": b"bytes"},
        {"cid": dag_cbor.Link(raw_cid(bytes(32)).encode() + b"x")},
        {"cid": dag_cbor.Link(b"")},
        {"cid": dag_cbor.Link(bytes.fromhex("01550003616263"))},
        {"cid": dag_cbor.Link(bytes.fromhex("01711220") + bytes(32))},
        {"name": ""},
        {"name": "a/b"},
        {"name": "a\0b"},
        {"name": "e\u0301"},
        {"name": "x" * 256},
        {"name": b"x"},
        {"size": -1},
        {"size": 2**63},
        {"size": True},
        {"size": 1.0},
        {"crc32": 2**32},
        {"crc32": -1},
        {"mime": "x" * 65},
        {"mime": "a\nb"},
        {"mime": "é"},
        {"tags": ["B"]},
        {"tags": ["b", "a"]},
        {"tags": ["a", "a"]},
        {"tags": [""]},
        {"tags": [1]},
        {"tags": ["x" * 65]},
        {"tags": [f"t{i:02}" for i in range(17)]},
        {"tags": "music"},
        {"at": [[0, b"\x7f\0\0\1", 7117]] * 3},
        {"at": [[0, "127.0.0.1", 7117]]},
        {"at": [[0, b"\x7f\0\0\1", 80]]},
        {"at": [[0, b"\x7f\0\0\1", 70_000]]},
        {"at": [[0, b"\x7f\0\0", 7117]]},
        {"at": [[]]},
        {"at": [["0"]]},
        {"at": None},
        {"seq": -1},
        {"seq": "1"},
        {"withdrawn": False},
        {"withdrawn": 1},
        {"withdrawn": None},
        {"expires": NOW * 1.0},
        {"publisher": public_key(1)},
        {"publisher": public_key() + b"x"},
        {"filler": bytes(MAX_META_BYTES)},
    ],
)
def test_a_field_outside_its_limits_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parsed(changed(**changes))


@pytest.mark.parametrize(
    "name",
    ["cid", "name", "size", "crc32", "mime", "tags", "publisher", "at", "seq", "expires"],
)
def test_a_field_that_is_missing_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        parsed(changed(remove=(name,)))


def test_what_later_versions_add_is_kept() -> None:
    raw = changed(at=[[9, "anything"], [1, b"\x7f\0\0\1", 7118]], later={"x": [1]})
    made = parsed(raw)
    assert made.at == ()
    assert made.encoded == raw
    again = withdraw_meta(made, made.seq + 1, key(), NETWORK)
    assert dag_cbor.decode(again.encoded)["later"] == {"x": [1]}
    assert dag_cbor.decode(again.encoded)["at"][0] == [9, "anything"]


def test_five_minutes_of_skew_are_allowed_and_no_more() -> None:
    skew = 300
    assert parsed(meta(expires=NOW + DAY + skew).encoded)
    assert parsed(meta(expires=NOW - skew + 1).encoded)
    assert parsed(meta(seq=(NOW + skew) * 1000).encoded)
    for wrong in (
        {"expires": NOW + DAY + skew + 1},
        {"expires": NOW - skew},
        {"seq": (NOW + skew) * 1000 + 1},
    ):
        with pytest.raises(MalformedError):
            parsed(meta(**wrong).encoded)


def test_what_this_node_kept_may_have_expired() -> None:
    made = meta(expires=NOW - DAY)
    assert parse_kept_meta(made.encoded, NETWORK) == made


def test_another_network_does_not_count() -> None:
    with pytest.raises(MalformedError):
        parse_meta(meta().encoded, public_network("other"), NOW)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parsed(raw)


_field = st.none() | st.booleans() | st.integers(-2, 2**64 - 1) | st.text() | st.binary()
_fields = _field | st.lists(_field | st.lists(_field, max_size=3), max_size=3)


@given(st.sampled_from(sorted(dag_cbor.decode(meta().encoded))), _fields)
@settings(max_examples=300)
def test_anything_signed_in_a_field_is_parsed_or_refused(name: str, value: object) -> None:
    try:
        made = parsed(changed(**{name: value}))
    except MalformedError:
        return
    assert parsed(made.encoded) == made


def test_a_withdrawal_keeps_what_its_keys_are_made_of_and_always_fits() -> None:
    made = meta(name="x" * 255, tags=tuple(f"{i:064}" for i in range(20)), at=(HERE, HERE))
    taken_back = withdraw_meta(made, made.seq + 1, key(), NETWORK)
    assert parsed(taken_back.encoded) == taken_back
    assert taken_back.withdrawn
    assert taken_back.index_tags == made.index_tags
    assert (taken_back.expires, taken_back.cid) == (made.expires, made.cid)


def test_tags_are_dropped_in_their_order_until_it_fits() -> None:
    parts = {
        "album": f"album:{'a' * 58}",
        "year": f"year:{'y' * 59}",
        "genre": f"genre:{'g' * 58}",
        "title": f"title:{'t' * 58}",
        "artist": f"artist:{'r' * 57}",
    }
    folders = [f"folder-{i}-{'f' * 55}" for i in range(9)]
    made = meta(name=f"{'n' * 251}.mp3", tags=(*parts.values(), "mp3", "audio", *folders))
    assert len(made.encoded) <= MAX_META_BYTES
    assert parts["title"] in made.tags
    assert parts["artist"] in made.tags
    assert "audio" in made.tags
    assert folders[0] in made.tags
    for dropped in ("album", "year", "genre"):
        assert parts[dropped] not in made.tags
    kept = [folder for folder in folders if folder in made.tags]
    assert kept == folders[: len(kept)]
    assert kept != folders


def test_at_most_sixteen_tags_and_two_addresses_are_kept() -> None:
    made = meta(tags=("album:x", *(f"t{i:02}" for i in range(16))), at=(HERE,) * 3)
    assert made.tags == tuple(f"t{i:02}" for i in range(16))
    assert len(made.at) == 2


@given(
    st.text(st.characters(exclude_categories=[]), max_size=300),
    st.integers(0, 2**63 - 1),
    st.lists(st.integers(0, 99), max_size=20),
)
@settings(max_examples=100)
def test_whatever_is_created_is_accepted(name: str, size: int, numbers: list[int]) -> None:
    tags = tuple(f"tag-{number}" for number in numbers)
    try:
        made = meta(name=name, size=size, tags=tags)
    except MalformedError:
        assert not name or {"/", "\0"} & set(name)
        return
    assert parsed(made.encoded) == made


def test_version_0_cids_are_told_from_version_1() -> None:
    cid = Cid(0, 0x70, b"\x12\x20" + bytes(32))
    assert parsed(meta(cid=cid).encoded).cid == cid


def test_an_ipv6_address_survives() -> None:
    there = Endpoint("2001:4860::1", 443)
    assert parsed(meta(at=(there,)).encoded).at == (there,)


def test_names_are_composed_valid_and_short_enough() -> None:
    assert published_name("e\u0301.txt") == "é.txt"
    assert published_name("bad\udc80.txt") == "bad\ufffd.txt"
    long = published_name("\u0958" * 80 + ".mp3")  # NFC makes two characters of this one
    assert long.endswith(".mp3")
    assert len(long.encode()) <= MAX_NAME_BYTES
    assert len(published_name("." + "x" * 300).encode()) == MAX_NAME_BYTES
    for wrong in ("", "a/b", "a\0b"):
        with pytest.raises(MalformedError):
            published_name(wrong)


def test_what_cannot_be_published_is_refused_at_once() -> None:
    with pytest.raises(MalformedError):
        create_meta(description(tags=("Not Normal",)), (), 1, NOW, key(), NETWORK)


def test_seq_is_the_clock_but_always_rises() -> None:
    assert next_seq(None, 1000) == 1000
    assert next_seq(999, 1000) == 1000
    assert next_seq(1000, 1000) == 1001
    assert next_seq(5000, 1000) == 5001
