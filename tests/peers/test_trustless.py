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
LEAF = cid_of(0x55, b"leaf")


def refused(path: str, query: bytes = b"", **headers: bytes) -> HTTPStatus:
    with pytest.raises(RefusedError) as error:
        parse_wish(path, query, {name.encode(): value for name, value in headers.items()})
    return error.value.status


def test_the_format_is_named_by_the_query_or_by_the_accept_header() -> None:
    for query, accept in ((b"format=raw", b""), (b"", b"application/vnd.ipld.raw")):
        assert parse_wish(PATH, query, {b"accept": accept}) == RawWish(CID, None)
    car = b"text/html, application/vnd.ipld.car; version=1; order=dfs; dups=n"
    wish = parse_wish(PATH, b"", {b"accept": car})
    assert wish == CarWish(CID, "all", EntityBytes(0, None), False)


def test_a_range_of_a_file_is_asked_for_with_entity_bytes() -> None:
    query = b"format=car&dag-scope=entity&entity-bytes=100:199&order=dfs&dups=y"
    assert parse_wish(PATH, query, {}) == CarWish(CID, "entity", EntityBytes(100, 199), True)


def test_what_is_not_served_is_refused_with_its_own_status() -> None:
    assert refused(PATH) == HTTPStatus.NOT_ACCEPTABLE
    assert refused(PATH, b"format=tar") == HTTPStatus.NOT_ACCEPTABLE
    assert refused(PATH, b"format=car&version=2") == HTTPStatus.NOT_ACCEPTABLE
    assert refused(PATH, b"format=car&dag-scope=moon") == HTTPStatus.BAD_REQUEST
    assert refused(PATH, b"format=car&entity-bytes=9:1") == HTTPStatus.BAD_REQUEST
    assert refused("/ipfs/../etc/passwd", b"format=raw") == HTTPStatus.BAD_REQUEST
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
    headers = dict(answer_headers(parse_wish(PATH, b"format=car", {}), [CID], 7))
    assert headers[b"content-type"] == b"application/vnd.ipld.car; version=1; order=dfs; dups=n"
    assert headers[b"content-length"] == b"7"
    assert headers[b"cache-control"] == b"public, max-age=29030400, immutable"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"etag"] == f'W/"{CID}.car.all.0:*.n"'.encode()


def test_the_names_of_a_path_are_those_between_its_slashes() -> None:
    for path in (f"{PATH}/a b/\u00e9", f"{PATH}//a b/\u00e9/"):
        wish = parse_wish(path, b"format=car&dag-scope=block", {})
        assert wish.path == ("a b", "\u00e9")
        headers = dict(answer_headers(wish, [CID, CID, LEAF], 7))
        assert headers[b"x-ipfs-path"] == f"{PATH}/a%20b/%C3%A9".encode()
        assert headers[b"x-ipfs-roots"] == f"{CID},{CID},{LEAF}".encode()
        assert headers[b"content-disposition"] == f'attachment; filename="{LEAF}.car"'.encode()
        assert headers[b"etag"] == f'W/"{CID}/a%20b/%C3%A9.car.block.0:*.n"'.encode()


def test_a_range_implies_the_entity() -> None:
    wish = parse_wish(PATH, b"format=car&entity-bytes=0:9", {})
    assert isinstance(wish, CarWish)
    assert wish.scope == "entity"


def test_the_query_of_a_car_counts_for_more_than_the_accept_header() -> None:
    accept = {b"accept": b"application/vnd.ipld.car; dups=n"}
    for name in (b"dups", b"car-dups"):
        wish = parse_wish(PATH, name + b"=y", accept)
        assert isinstance(wish, CarWish)
        assert wish.has_duplicates
    assert refused(PATH, b"format=car&car-order=bfs") == HTTPStatus.NOT_ACCEPTABLE
    assert refused(PATH, b"format=car&car-version=2") == HTTPStatus.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (b"song.bin", 'filename="song.bin"'),
        (b"a%22%0d%0ax%2fb", "filename=\"a___x_b\"; filename*=UTF-8''a%22%0D%0Ax%2Fb"),
        (b"%c3%a9", "filename=\"_\"; filename*=UTF-8''%C3%A9"),
    ],
)
def test_a_client_may_name_the_file(asked: bytes, told: str) -> None:
    wish = parse_wish(PATH, b"format=raw&filename=" + asked, {})
    headers = dict(answer_headers(wish, [CID], 7))
    assert headers[b"content-disposition"] == f"attachment; {told}".encode()


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
            answer_headers(wish, [wish.cid], 0)
