import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content import dag_cbor
from p2pfs.content.cid import raw_cid
from p2pfs.content.metainfo import MAX_META_BYTES
from p2pfs.dht.subjects import (
    MAX_SUBJECT_BYTES,
    RULES,
    Subject,
    meta_subject,
    parse_subject,
    provider_subject,
    tag_subject,
)
from p2pfs.errors import MalformedError
from tests.samples import multihash


def test_subjects_and_keys_are_these() -> None:
    encoded = provider_subject(multihash(7)).encode()
    assert encoded.hex() == "826870726f766964657258221220" + "07" * 32
    assert tag_subject("music").encode().hex() == "8463746167656d757369630000"
    assert meta_subject(multihash(7)).encode().hex() == "82646d65746158221220" + "07" * 32
    assert provider_subject(multihash(7)).key == hashlib.sha256(encoded).digest()[:20]
    assert tag_subject("music").key.hex() == "3e1248b3e944d3698e2b7be6934ad6a2f49d09d2"


_subjects = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda d: provider_subject(b"\x12\x20" + d)),
    st.binary(min_size=32, max_size=32).map(lambda d: meta_subject(b"\x12\x20" + d)),
    st.builds(tag_subject, st.sampled_from(["music", "é" * 32]), st.just(1), st.integers(0, 127)),
)


@given(_subjects)
@settings(max_examples=50)
def test_a_subject_comes_back(subject: Subject) -> None:
    assert parse_subject(subject.encode()) == subject
    assert len(subject.encode()) <= MAX_SUBJECT_BYTES


@pytest.mark.parametrize(
    "value",
    [
        [],
        ["provider"],
        ["provider", b"\x12\x20" + bytes(31)],
        ["provider", b"\x00\x03abc"],
        ["provider", dag_cbor.Link(raw_cid(bytes(32)).encode())],
        ["provider", "text"],
        ["meta", multihash(0), 0],
        ["tag", "music"],
        ["tag", "Music", 0, 0],
        ["tag", "x" * 65, 0, 0],
        ["tag", "music", 0, 1],
        ["tag", "music", 1, 128],
        ["tag", "music", 2, 0],
        ["tag", "music", -1, 0],
        ["tag", "music", False, 0],
        ["tag", b"music", 0, 0],
        ["other", "music"],
        {"tag": "music"},
        "tag",
    ],
)
def test_a_subject_of_another_form_is_refused(value: dag_cbor.Value) -> None:
    with pytest.raises(MalformedError):
        parse_subject(dag_cbor.encode(value))


@given(st.binary(max_size=100))
@settings(max_examples=200)
def test_arbitrary_bytes_are_refused_or_a_subject(raw: bytes) -> None:
    try:
        subject = parse_subject(raw)
    except MalformedError:
        return
    assert subject.encode() == raw


def test_the_numbers_of_the_kinds() -> None:
    assert {kind: (rules.copies, rules.rows_per_key) for kind, rules in RULES.items()} == {
        "provider": (20, 256),
        "tag": (8, 1000),
        "meta": (8, 64),
    }
    assert RULES["tag"].max_bytes == MAX_META_BYTES == 1024
