import libipld
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content.dag_cbor import (
    MAX_DEPTH,
    MAX_ITEMS,
    Link,
    Value,
    decode,
    decode_map,
    encode,
    without,
)
from p2pfs.errors import MalformedError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars | st.binary().map(Link),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
@settings(max_examples=200)
def test_every_value_comes_back(value: object) -> None:
    assert decode(encode(value)) == value


@given(st.dictionaries(st.text(), values, min_size=1, max_size=40), st.data())
@settings(max_examples=200)
def test_a_map_without_a_key_is_what_would_be_encoded_without_it(
    value: dict[str, Value], data: st.DataObject
) -> None:
    raw = encode(value)
    found, entries = decode_map(raw)
    assert found == value
    key = data.draw(st.sampled_from(sorted(value)))
    assert without(raw, entries, key) == encode({k: v for k, v in value.items() if k != key})


@pytest.mark.parametrize("raw", [encode(1), encode([{}]), encode({}) + b"\0", b""])
def test_what_is_no_map_alone_has_no_entries(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_map(raw)


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_arbitrary_bytes_are_refused_or_the_one_encoding_of_a_value(raw: bytes) -> None:
    try:
        value = decode(raw)
    except MalformedError:
        return
    assert encode(value) == raw


@given(values.map(encode), st.data())
@settings(max_examples=300)
def test_a_changed_byte_is_refused_or_the_one_encoding_of_another_value(
    raw: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :]
    try:
        value = decode(changed)
    except MalformedError:
        return
    assert encode(value) == changed


# libipld writes -0.0 as 0.0, which the specification does not ask for.
_agreed = scalars.filter(lambda value: not isinstance(value, bytes) and str(value) != "-0.0")


@given(st.recursive(_agreed, st.lists, max_leaves=8))
@settings(max_examples=100)
def test_libipld_agrees(value: object) -> None:
    raw = encode(value)
    assert libipld.encode_dag_cbor(value) == raw
    assert libipld.decode_dag_cbor(raw) == value


def test_libipld_agrees_about_maps_and_links() -> None:
    cid = bytes.fromhex("01551220") + bytes(32)
    assert encode({"v": 1, "b": Link(cid), "aa": [None]}) == libipld.encode_dag_cbor(
        {"aa": [None], "b": cid, "v": 1}
    )


def test_bytes_that_look_like_a_cid_stay_bytes() -> None:
    multihash = bytes.fromhex("1220") + bytes(32)
    assert encode(multihash) == bytes.fromhex("58221220") + bytes(32)
    assert libipld.encode_dag_cbor(multihash)[:2] == b"\xd8\x2a"  # why this module exists


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "nothing"),
        ("1801", "one in two bytes"),
        ("190017", "23 in three bytes"),
        ("1a0000ffff", "65,535 in five bytes"),
        ("1b00000000ffffffff", "2^32 - 1 in nine bytes"),
        ("f93c00", "a half"),
        ("fa3f800000", "a single"),
        ("fb7ff8000000000000", "not a number"),
        ("fb7ff0000000000000", "infinity"),
        ("f7", "undefined"),
        ("f818", "a simple value of two bytes"),
        ("5f4161ff", "indefinite bytes"),
        ("9f01ff", "an indefinite list"),
        ("bf616101ff", "an indefinite map"),
        ("a2616101616101", "a key twice"),
        ("a2616201616101", "keys not sorted"),
        ("a262616101616201", "a longer key first"),
        ("a10101", "a key that is a number"),
        ("61ff", "text that is not UTF-8"),
        ("63eda080", "a surrogate"),
        ("c001", "another tag"),
        ("d82a01", "a link that is a number"),
        ("d82a4101", "a link without its zero byte"),
        ("d82a40", "an empty link"),
        ("0101", "two values"),
        ("9b7fffffffffffffff", "a list longer than the bytes"),
        ("bb7fffffffffffffff", "a map longer than the bytes"),
        ("5b7fffffffffffffff", "bytes longer than the bytes"),
    ],
)
def test_what_is_not_canonical_is_refused(raw: str, why: str) -> None:
    with pytest.raises(MalformedError):
        decode(bytes.fromhex(raw))


def test_depth_is_bounded_both_ways() -> None:
    nested: object = 0
    for _ in range(MAX_DEPTH):
        nested = [nested]
    assert decode(encode(nested)) == nested
    with pytest.raises(MalformedError):
        encode([nested])
    with pytest.raises(MalformedError):
        decode(b"\x81" * 100_000 + b"\x00")


def test_the_number_of_items_is_bounded() -> None:
    assert decode(encode([0] * (MAX_ITEMS - 1))) == [0] * (MAX_ITEMS - 1)
    with pytest.raises(MalformedError):
        decode(encode([0] * MAX_ITEMS))


@pytest.mark.parametrize("value", [2**64, -(2**64) - 1, float("nan"), "\ud800", {1: 2}, {1, 2}])
def test_what_it_cannot_hold_is_not_encoded(value: object) -> None:
    with pytest.raises(MalformedError):
        encode(value)
