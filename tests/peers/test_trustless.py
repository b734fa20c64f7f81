from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.car import EntityBytes
from p2pfs.content.cid import cid_of, parse_cid
from p2pfs.peers.trustless import CarWish, RawWish, RefusedError, answer_headers, parse_wish

CID = cid_of(0x55, b"hello")
PATH = f"/ipfs/{CID}"


def refused(path: str, query: bytes = b"", **headers: bytes) -> HTTPStatus:
    with pytest.raises(RefusedError) as error:
        parse_wish(path, query, {name.encode(): value for name, value in headers.items()})
    return error.value.status


def test_the_format_is_named_by_the_query_or_by_the_accept_header() -> None:
    for query, accept in ((b"format=raw", b""), (b"", b"application/vnd.ipld.raw")):
        assert parse_wish(PATH, query, {b"accept": accept}) == RawWish(CID, None)
    car = b"text/html, application/vnd.ipld.car; version=1; order=dfs; dups=n"
    wish = parse_wish(PATH, b"", {b"accept": car})
    assert wish == CarWish(CID, False, EntityBytes(0, None), False)


def test_a_range_of_a_file_is_asked_for_with_entity_bytes() -> None:
    query = b"format=car&dag-scope=entity&entity-bytes=100:199&order=dfs&dups=y"
    assert parse_wish(PATH, query, {}) == CarWish(CID, False, EntityBytes(100, 199), True)


def test_what_is_not_served_is_refused_with_its_own_status() -> None:
    assert refused(PATH) == HTTPStatus.NOT_ACCEPTABLE
    assert refused(PATH, b"format=tar") == HTTPStatus.NOT_ACCEPTABLE
    assert refused(PATH, b"format=car&version=2") == HTTPStatus.NOT_ACCEPTABLE
    assert refused(PATH, b"format=car&dag-scope=moon") == HTTPStatus.BAD_REQUEST
    assert refused(PATH, b"format=car&entity-bytes=9:1") == HTTPStatus.BAD_REQUEST
    assert refused(f"{PATH}/below", b"format=raw") == HTTPStatus.NOT_IMPLEMENTED
    assert refused("/ipfs/../etc/passwd", b"format=raw") == HTTPStatus.NOT_IMPLEMENTED
    assert refused("/ipfs/nonsense", b"format=raw") == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-1", (0, 2)),
        ("bytes=3-", (3, 5)),
        ("bytes=-2", (3, 5)),
        ("bytes=-99", (0, 5)),
        ("bytes=0-99", (0, 5)),
        ("bytes=4-1", (0, 5)),
        ("bytes=0-1,3-4", (0, 5)),
        ("lines=1-2", (0, 5)),
    ],
)
def test_a_range_of_a_block_is_cut_to_it(header: str, span: tuple[int, int]) -> None:
    wish = parse_wish(PATH, b"format=raw", {b"range": header.encode()})
    assert isinstance(wish, RawWish)
    assert wish.span(5) == span


def test_a_range_beyond_the_block_is_refused() -> None:
    for header in (b"bytes=5-", b"bytes=-0"):
        wish = parse_wish(PATH, b"format=raw", {b"range": header})
        assert isinstance(wish, RawWish)
        with pytest.raises(RefusedError):
            wish.span(5)


def test_the_probe_is_an_empty_block() -> None:
    wish = parse_wish("/ipfs/bafkqaaa", b"format=raw", {})
    assert wish.cid == parse_cid("bafkqaaa")
    assert isinstance(wish, RawWish)
    assert wish.span(0) == (0, 0)


def test_the_headers_are_those_of_the_specification() -> None:
    headers = dict(answer_headers(parse_wish(PATH, b"format=car", {}), 7))
    assert headers[b"content-type"] == b"application/vnd.ipld.car; version=1; order=dfs; dups=y"
    assert headers[b"content-length"] == b"7"
    assert headers[b"cache-control"] == b"public, max-age=29030400, immutable"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"etag"] == f'W/"{CID}.car.0:*.y"'.encode()


@given(st.text(), st.binary(), st.dictionaries(st.sampled_from([b"accept", b"range"]), st.binary()))
def test_no_request_raises_anything_but_a_refusal(
    path: str, query: bytes, headers: dict[bytes, bytes]
) -> None:
    for tried in (path, f"/ipfs/{path}", PATH):
        for prefix in (b"", b"format=car&", b"format=raw&", b"format=car&entity-bytes="):
            try:
                wish = parse_wish(tried, prefix + query, headers)
            except RefusedError:
                continue
            answer_headers(wish, 0)
