import contextlib
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.addresses import (
    Endpoint,
    Neighbourhood,
    Scope,
    canonical_ip,
    client_group,
    encode_addresses,
    endpoint,
    parse_addresses,
    parse_host_port,
    prefix_group,
    scope,
)
from p2pfs.errors import MalformedError


@pytest.mark.parametrize(
    ("ip", "canonical"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2001:4860:0:0::1", "2001:4860::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        (bytes((8, 8, 8, 8)), "8.8.8.8"),
        (bytes(10) + b"\xff\xff\x08\x08\x08\x08", "8.8.8.8"),
        (bytes(15) + b"\x01", "::1"),
    ],
)
def test_an_ip_has_one_spelling(ip: str | bytes, canonical: str) -> None:
    assert canonical_ip(ip) == canonical


@pytest.mark.parametrize("ip", ["", "localhost", "127.1", "0x7f000001", "1.2.3.4 ", b"", b"123"])
def test_what_is_no_literal_ip_is_refused(ip: str | bytes) -> None:
    with pytest.raises(MalformedError):
        canonical_ip(ip)


@pytest.mark.parametrize("port", [443, 1024, 7117, 65535])
def test_ports_a_peer_may_use(port: int) -> None:
    assert endpoint("8.8.8.8", port) == Endpoint("8.8.8.8", port)


@pytest.mark.parametrize("port", [-1, 0, 22, 80, 1023, 65536, "7117", 7117.0, None, True])
def test_ports_a_peer_may_not_use(port: object) -> None:
    with pytest.raises(MalformedError):
        endpoint("8.8.8.8", port)


def test_host_and_port_as_users_type_them() -> None:
    assert parse_host_port("127.0.0.1:0") == Endpoint("127.0.0.1", 0)
    assert parse_host_port("[::1]:7117") == Endpoint("::1", 7117)
    assert str(parse_host_port("[::1]:7117")) == "[::1]:7117"
    assert str(parse_host_port("10.0.0.1:80")) == "10.0.0.1:80"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "127.0.0.1",
        "127.0.0.1:",
        "::1:80",
        "host:80",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "1.2.3.4:\u0663",  # a digit, but not an ASCII one
        "1.2.3.4:" + "9" * 5000,
    ],
)
def test_what_is_not_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_host_port(text)


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_any_text_is_host_and_port_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedError):
        parse_host_port(text)


@pytest.mark.parametrize(
    ("ip", "reach"),
    [
        ("127.255.0.1", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("10.1.2.3", Scope.PRIVATE),
        ("172.31.0.1", Scope.PRIVATE),
        ("172.32.0.1", Scope.GLOBAL),
        ("192.168.1.1", Scope.PRIVATE),
        ("169.254.1.1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("fe80::1", Scope.PRIVATE),
        ("8.8.8.8", Scope.GLOBAL),
        ("2001:4860::1", Scope.GLOBAL),
        ("0.1.2.3", Scope.REFUSED),
        ("100.64.0.1", Scope.REFUSED),
        ("224.0.0.1", Scope.REFUSED),
        ("255.255.255.255", Scope.REFUSED),
        ("::", Scope.REFUSED),
        ("64:ff9b::7f00:1", Scope.REFUSED),
        ("2001::1", Scope.REFUSED),
        ("2002:7f00:1::", Scope.REFUSED),
        ("ff02::1", Scope.REFUSED),
    ],
)
def test_scopes(ip: str, reach: Scope) -> None:
    assert scope(ip) is reach


def test_whose_word_counts_for_which_address() -> None:
    here = Neighbourhood(attached=(ip_network("192.168.1.0/24"),), lan=(ip_network("10.9.0.0/16"),))
    assert here.counts("8.8.8.8", "9.9.9.9")
    assert here.counts("127.0.0.1", "127.0.0.2")
    assert not here.counts("127.0.0.1", "8.8.8.8")
    assert not here.counts("127.0.0.1", "192.168.1.5")
    assert here.counts("192.168.1.7", "192.168.1.8")
    assert not here.counts("192.168.1.7", "8.8.8.8")
    assert not here.counts("192.168.2.7", "192.168.2.8")
    assert here.counts("10.9.1.1", "8.8.8.8")
    assert here.counts("192.168.2.7", None)
    assert not here.counts("100.64.0.1", None)


def test_limits_do_not_apply_nearby() -> None:
    here = Neighbourhood(attached=(ip_network("192.168.1.0/24"),))
    assert here.is_near("127.0.0.1")
    assert here.is_near("192.168.1.9")
    assert not here.is_near("192.168.2.9")
    assert not here.is_near("::2")


def test_prefix_groups() -> None:
    assert prefix_group("1.2.3.4") == ("1.2.0.0/16", "1.2.3.0/24")
    assert prefix_group("2001:4860:1:2::3") == ("2001:4860::/32", "2001:4860:1::/48")


def test_addresses_on_the_wire_are_these() -> None:
    assert encode_addresses([Endpoint("127.0.0.1", 7117), Endpoint("::1", 443)]) == [
        [0, b"\x7f\0\0\1", 7117],
        [0, bytes(15) + b"\1", 443],
    ]


def test_addresses_come_back_and_unknown_kinds_are_left_out() -> None:
    ip = bytes((8, 8, 8, 8))
    listed = parse_addresses([[0, ip, 7117], [1, ip, 7118], [7, {}], [2]], 4)
    assert listed.https == (Endpoint("8.8.8.8", 7117),)
    assert listed.direct_ips == {"8.8.8.8"}
    assert not listed.only_relays
    assert parse_addresses([[2, ip]], 4).only_relays
    assert not parse_addresses([], 4).only_relays
    assert parse_addresses([[1, bytes((9, 9, 9, 9)), 7118]], 1).direct_ips == {"9.9.9.9"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        b"",
        [None],
        [[]],
        [[True, b"\x7f\0\0\1", 7117]],
        [[0]],
        [[0, "127.0.0.1", 7117]],
        [[0, b"\x7f\0\0", 7117]],
        [[0, b"\x7f\0\0\1", 70_000]],
        [[0, b"\x7f\0\0\1", 7117, 1]],
        [[0, b"\x7f\0\0\1", 7117]] * 5,
    ],
)
def test_addresses_of_another_form_are_refused(value: object) -> None:
    with pytest.raises(MalformedError):
        parse_addresses(value, 4)


_item = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=16)


@given(_item | st.lists(_item | st.lists(_item, max_size=4), max_size=5))
@settings(max_examples=200)
def test_anything_is_addresses_or_refused(value: object) -> None:
    with contextlib.suppress(MalformedError):
        parse_addresses(value, 4)


def test_an_ipv6_household_is_one_client() -> None:
    assert client_group("2a00::1") == client_group("2a00:0:0:ff:1::2")
    assert client_group("2a00::1") != client_group("2a00:0:0:100::1")


def test_each_ipv4_address_is_its_own_client() -> None:
    assert client_group("192.168.0.1") != client_group("192.168.0.2")
