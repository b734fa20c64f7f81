"""Records of the peer schema, from routers that nobody here wrote, and back."""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint, canonical_ip
from p2pfs.dht.overlay import Provider
from p2pfs.dht.peerschema import (
    LineReader,
    TextReader,
    encode_json,
    encode_ndjson,
    reader_for,
)
from p2pfs.errors import MalformedError
from p2pfs.identity import peer_id
from tests.samples import public_key

PEER = peer_id(public_key())
HTTPS = "/ip4/11.0.0.1/tcp/7117/tls/http"

ips = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)
)
endpoints = st.builds(
    lambda ip, port: Endpoint(canonical_ip(str(ip)), port), ips, st.integers(1024, 65535)
)
providers = st.lists(
    st.builds(
        Provider,
        st.integers(0, 9).map(public_key),
        st.lists(endpoints, min_size=1, max_size=4).map(tuple),
    ),
    max_size=4,
)


def record(**changes: object) -> bytes:
    fields = {"Schema": "peer", "ID": PEER, "Addrs": [HTTPS], "Protocols": []}
    return json.dumps({**fields, **changes}).encode() + b"\n"


def read(*lines: bytes) -> list[Provider]:
    reader = LineReader()
    return [each for line in lines for each in reader.feed(line)] + reader.close()


@given(providers, st.integers(1, 50))
def test_what_is_written_is_read_however_it_is_cut(told: list[Provider], length: int) -> None:
    raw = encode_ndjson(told)
    pieces = [raw[at : at + length] for at in range(0, len(raw), length)]
    assert read(*pieces) == told
    reader = TextReader()
    assert reader.feed(encode_json(told)) == []
    assert reader.close() == told


@given(st.binary(), st.sampled_from([LineReader, TextReader]))
def test_any_bytes_are_an_answer_or_refused(raw: bytes, kind: type) -> None:
    reader = kind()
    with suppress(MalformedError):
        assert all(each.addresses for each in reader.feed(raw) + reader.close())


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"7",
        record(Schema="bitswap"),
        record(Schema="unknown", ID=7, Addrs={}),
        record(ID="QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"),
        record(ID="12D3Koo"),
        record(ID="1" * 100_000)[:60_000] + b'"}',
        record(Addrs=None),
        record(Addrs=["/ip4/11.0.0.1/tcp/4001", "/ip4/11.0.0.1/udp/4001/quic-v1"]),
        record(Addrs=["/dns4/gateway.example/tcp/443/https", "/ip4/11.0.0.1/tcp/80/http"]),
        record(Addrs=["/ip4/11.0.0.1/tcp/22/tls/http", "/ip4/11.0.0.1/tcp/99999/tls/http"]),
        record(Addrs=["/ip4/::1/tcp/7117/tls/http", "/ip6/1.2.3.4/tcp/7117/tls/http"]),
        record(Addrs=["/ip4/11.0.0/tcp/7117/https", "/ip4/" + "1" * 5_000]),
    ],
)
def test_records_that_are_of_no_use_are_left_out(line: bytes) -> None:
    assert len(read(line.rstrip(b"\n") + b"\n", record())) == 1


@pytest.mark.parametrize(
    "multiaddr",
    [HTTPS, "/ip4/11.0.0.1/tcp/7117/https", f"{HTTPS}/p2p/{PEER}"],
)
def test_https_at_a_literal_ip_is_read_in_each_spelling(multiaddr: str) -> None:
    assert read(record(Addrs=["/dns/x/tcp/443/https", multiaddr])) == [
        Provider(public_key(), (Endpoint("11.0.0.1", 7117),))
    ]


def test_of_very_many_addresses_the_first_four_count() -> None:
    [found] = read(record(Addrs=[f"/ip4/11.0.0.{n}/tcp/7117/tls/http" for n in range(200)]))
    assert len(found.addresses) == 4


@pytest.mark.parametrize("raw", [b"<html>", b"{", b"[" * 10_000, b"\xff", b'{"Providers": 7}'])
def test_a_text_that_is_no_answer_is_refused(raw: bytes) -> None:
    reader = TextReader()
    reader.feed(raw)
    with pytest.raises(MalformedError):
        reader.close()


@pytest.mark.parametrize("raw", [b"<html>", b"{", b'{"x":' + b"[" * 10_000, b"\xff"])
def test_a_line_that_is_no_record_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        read(raw)


def test_nobody_is_written_in_several_ways() -> None:
    for text in (b"{}", b'{"Providers": null}', b'{"Providers": []}'):
        reader = TextReader()
        reader.feed(text)
        assert reader.close() == []
    assert read() == read(b"\n\r\n ") == []


def test_a_line_without_an_end_is_not_kept() -> None:
    reader = LineReader()
    with pytest.raises(MalformedError):
        for _ in range(1_000):
            reader.feed(b"x" * 1_000)


def test_the_content_type_says_how_it_is_read() -> None:
    assert isinstance(reader_for("application/x-ndjson"), LineReader)
    assert isinstance(reader_for("Application/JSON; charset=utf-8"), TextReader)
    with pytest.raises(MalformedError):
        reader_for("text/html")
