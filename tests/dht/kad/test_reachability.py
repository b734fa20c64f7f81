from __future__ import annotations

import random

import pytest

from p2pfs.dht.kad.reachability import RECHECK_SECONDS, Reachability

IP, OF_IPV6 = "8.8.8.8", "2600::1"


def reachability(forced: bool | None = None) -> Reachability:
    return Reachability(forced, random.Random(1))


def test_a_node_is_a_client_until_both_its_ports_are_reached() -> None:
    node = reachability()
    assert not node.is_server(0)
    node.heard(IP, 0)
    assert not node.is_server(0)
    node.reached_by_https(IP, 0)
    assert node.is_server(0)


def test_evidence_outlives_one_failed_check_and_no_more() -> None:
    node = reachability()
    node.heard(IP, 0)
    node.reached_by_https(IP, 0)
    assert node.is_server(RECHECK_SECONDS + 60)
    assert not node.is_server(2 * RECHECK_SECONDS + 60)


def test_what_gets_through_by_ipv6_says_nothing_of_ipv4() -> None:
    node = reachability()
    node.heard(OF_IPV6, 0)
    node.reached_by_https(IP, 0)
    assert not node.is_server(0)
    node.reached_by_https(OF_IPV6, 0)
    assert node.is_server(0)
    assert node.is_server(0, by=OF_IPV6)
    assert not node.is_server(0, by=IP)
    node.blocked()
    assert not node.is_heard(0)


def test_only_a_nonce_that_was_given_out_lately_says_something_and_once() -> None:
    node = reachability()
    node.dialed(b"x" * 16, IP, 0)
    assert not node.is_heard(0)
    late, right = node.expect(0), node.expect(0)
    node.dialed(late, IP, 11)
    assert not node.is_heard(11)
    node.dialed(right, IP, 9)
    assert node.is_heard(9)


def test_nonces_are_bounded() -> None:
    node = reachability()
    first = node.expect(0)
    for _ in range(100):
        node.expect(0)
    node.dialed(first, IP, 1)
    assert not node.is_heard(1)


def test_neighbours_list_it_at_once_unless_the_user_forbids() -> None:
    assert reachability().is_server(0, near=True)
    assert not reachability(forced=False).is_server(0, near=True)


@pytest.mark.parametrize("forced", [True, False])
def test_the_user_has_the_last_word(forced: bool) -> None:
    node = reachability(forced)
    assert node.is_server(0) is forced
    node.heard(IP, 0)
    node.reached_by_https(IP, 0)
    assert node.is_server(0) is forced
