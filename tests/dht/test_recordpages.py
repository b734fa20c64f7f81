import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.content import dag_cbor
from p2pfs.dht.recordpages import (
    MAX_BATCH_ROWS,
    MAX_BATCH_VALUES,
    MAX_BODY_BYTES,
    MAX_PAGE_VALUE_BYTES,
    encode_batches,
    encode_held,
    encode_page,
    parse_batch,
    parse_held,
    parse_page,
)
from p2pfs.dht.records import subjects_of
from p2pfs.dht.subjects import meta_subject, tag_subject
from p2pfs.errors import MalformedError
from tests.samples import meta, multihash


def test_the_bytes_of_a_page_and_a_batch_are_these() -> None:
    assert encode_page([b"one"], None).hex() == "a16676616c75657381436f6e65"
    assert encode_page([], b"\x01").hex() == "a2646e657874410166" + "76616c75657380"
    (batch,) = encode_batches([(tag_subject("music"), b"one"), (tag_subject("jazz"), b"one")])
    assert batch.hex() == (
        "a1677265636f7264738182436f6e65828463746167656d7573696300008463746167646a617a7a0000"
    )


@given(st.lists(st.binary(max_size=50), max_size=5), st.none() | st.binary(min_size=1, max_size=80))
@settings(max_examples=100)
def test_a_page_comes_back(values: list[bytes], cursor: bytes | None) -> None:
    page = parse_page(encode_page(values, cursor))
    assert (list(page.values), page.next) == (values, cursor)


def test_a_value_travels_once_however_many_its_subjects() -> None:
    made = meta()
    records = [(subject, made.encoded) for subject in subjects_of(made)]
    (batch,) = encode_batches(records)
    assert parse_batch(batch) == records
    assert batch.count(made.encoded) == 1


def test_many_records_are_cut_into_batches_within_the_limits() -> None:
    few_and_long = [(tag_subject("music"), bytes([n]) * 1024) for n in range(256)]
    many_and_short = [(tag_subject("music"), n.to_bytes(8, "big")) for n in range(600)]
    one_everywhere = [(tag_subject(f"t{n}"), b"value") for n in range(100)]
    records = few_and_long + many_and_short + one_everywhere
    batches = encode_batches(records)
    assert all(len(batch) <= MAX_BODY_BYTES for batch in batches)
    assert [record for batch in batches for record in parse_batch(batch)] == records
    assert encode_batches([]) == []


def test_a_full_page_fits_a_body() -> None:
    values = [bytes(300)] * (MAX_PAGE_VALUE_BYTES // 300)
    assert len(encode_page(values, bytes(80))) <= MAX_BODY_BYTES


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"values": None},
        {"values": ["text"]},
        {"values": [bytes(1025)]},
        {"values": [], "next": b""},
        {"values": [], "next": bytes(97)},
        {"values": [], "next": 7},
    ],
)
def test_a_page_of_another_form_is_refused(value: dag_cbor.Value) -> None:
    with pytest.raises(MalformedError):
        parse_page(dag_cbor.encode(value))


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [None],
        [[]],
        [[b"value"]],
        [[b"value", None]],
        [[b"value", [None]]],
        [["text", [["tag", "music", 0, 0]]]],
        [[b"value", [["tag", "Music", 0, 0]]]],
        [[b"value", [["tag", "music", 0, 0]] * 33]],
        [[bytes(1025), [["tag", "music", 0, 0]]]],
        [[b"value", []]] * (MAX_BATCH_VALUES + 1),
    ],
)
def test_a_batch_of_another_form_is_refused(entries: dag_cbor.Value) -> None:
    with pytest.raises(MalformedError):
        parse_batch(dag_cbor.encode({"records": entries}))


@given(st.lists(st.booleans(), max_size=MAX_BATCH_ROWS))
def test_what_is_held_of_a_batch_comes_back(held: list[bool]) -> None:
    assert parse_held(encode_held(held)) == held


@given(st.binary())
def test_no_answer_to_a_batch_raises_another_error(raw: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert encode_held(parse_held(raw)) == raw


def test_what_later_versions_add_is_ignored() -> None:
    subject = meta_subject(multihash(0))
    assert parse_page(dag_cbor.encode({"values": [b"x"], "count": 9})).values == (b"x",)
    batch = dag_cbor.encode({"records": [[b"x", [[*("meta", subject.parts[0])]]]], "more": {}})
    assert parse_batch(batch) == [(subject, b"x")]


def test_a_body_over_the_limit_is_refused_unread() -> None:
    for parse in (parse_page, parse_batch):
        with pytest.raises(MalformedError, match="at most"):
            parse(bytes(MAX_BODY_BYTES + 1))


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_arbitrary_bytes_are_refused_or_a_page_or_batch(raw: bytes) -> None:
    for parse in (parse_page, parse_batch):
        with contextlib.suppress(MalformedError):
            parse(raw)
