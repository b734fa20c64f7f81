"""What a node makes of what others say of it: where it is, and whether strangers reach it."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from ipaddress import ip_network
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from p2pfs.addresses import WILDCARDS, Endpoint, Neighbourhood
from p2pfs.dht.kad.contacts import Contact
from p2pfs.dht.kad.proof import Proven
from p2pfs.dht.kad.server import Server
from p2pfs.dht.kad.settings import Settings
from p2pfs.dht.kad.wire import HEADER_BYTES, Ping, Reply, encode_reply
from p2pfs.dht.memorystore import MemoryRecordStore
from tests.dht.kad.nodes import NETWORK, contact, identity

if TYPE_CHECKING:
    from p2pfs.dht.kad.sockets import Transport

HERE, ELSEWHERE, BEHIND_A_ROUTER = "8.8.8.8", "9.9.9.9", "10.1.1.1"
LAN = Neighbourhood(attached=(ip_network("192.168.1.0/24"),))


def bound_to(*ips: str) -> Server:
    """A node that does not listen yet, on a LAN."""
    settings = Settings(
        identity(1),
        NETWORK,
        LAN,
        7117,
        MemoryRecordStore(),
        (),
        monotonic=lambda: 100.0,
        random=random.Random(0),
        server=None,
    )
    return Server(settings, cast("Transport", SimpleNamespace(ips=ips)))


def told(server: Server, speaker: str, seen: str) -> None:
    """A node proves itself, and says where it sees this one."""
    server.met(Proven(contact(2, speaker), Endpoint(seen, 7117), 0))


@pytest.mark.parametrize(
    ("bound", "seen", "named", "may_be"),
    [
        (HERE, None, HERE, True),
        (HERE, None, ELSEWHERE, False),
        ("0.0.0.0", HERE, HERE, True),  # noqa: S104 never bound
        ("0.0.0.0", HERE, ELSEWHERE, False),  # noqa: S104 never bound
        ("0.0.0.0", None, ELSEWHERE, True),  # noqa: S104 never bound
        (BEHIND_A_ROUTER, None, HERE, True),
        ("192.168.1.2", None, HERE, True),
        (HERE, None, "192.168.1.2", True),
        (HERE, None, "2600::1", True),
    ],
)
def test_who_is_known_to_be_elsewhere_answers_for_no_other_address(
    bound: str, seen: str | None, named: str, may_be: bool
) -> None:
    server = bound_to(bound)
    if seen is not None:
        told(server, "20.1.1.1", seen)
    assert server._may_be_own(Endpoint(named, 7117)) is may_be


@pytest.mark.parametrize(
    ("speaker", "seen", "counts"),
    [
        ("20.1.1.1", HERE, True),
        ("20.1.1.1", "192.168.1.2", False),
        ("20.1.1.1", "127.0.0.1", False),
        ("192.168.1.9", "192.168.1.2", True),
    ],
)
def test_nobody_says_of_this_node_what_he_cannot_see_from_his_own_scope(
    speaker: str, seen: str, counts: bool
) -> None:
    server = bound_to()
    told(server, speaker, seen)
    assert server.own_addresses() == (Endpoint(seen, 7117),) * counts


@pytest.mark.parametrize("wildcard", WILDCARDS)
def test_a_node_offers_what_it_is_bound_to_after_what_is_seen_and_no_wildcard(
    wildcard: str,
) -> None:
    server = bound_to(wildcard, HERE)
    assert server.own_addresses() == (Endpoint(HERE, 7117),)
    told(server, "20.1.1.1", ELSEWHERE)
    assert server.own_addresses() == (Endpoint(ELSEWHERE, 7117), Endpoint(HERE, 7117))


def test_a_node_that_meets_itself_has_nobodys_word_for_where_it_is() -> None:
    server = bound_to()
    itself = Contact(server.own_key, server.own_id, Endpoint(HERE, 7117), 7117)
    server.met(Proven(itself, Endpoint(HERE, 7117), 0))
    assert server.own_addresses() == ()


def test_an_address_of_the_lan_is_this_nodes_own_for_those_on_it_alone() -> None:
    """Somebody far off has the same one in a LAN of his own, and was asked there."""
    server, here = bound_to(HERE, "192.168.1.2"), Endpoint("192.168.1.2", 7117)
    assert server._is_own(here, Endpoint("192.168.1.9", 7117))
    assert not server._is_own(here, Endpoint(ELSEWHERE, 7117))


def test_who_asks_unasked_shows_that_strangers_get_through_and_who_was_sent_to_does_not() -> None:
    server, asked = bound_to(HERE), Endpoint("20.1.1.1", 7117)
    server.acquaintances.asking(asked, server.monotonic())
    server._greet(Ping(), asked)
    assert not server.reachability.is_heard(100.0)
    server._greet(Ping(), Endpoint(ELSEWHERE, 7117))
    assert server.reachability.is_heard(100.0)


def test_who_reaches_a_node_by_ipv6_alone_is_the_only_one_to_list_it() -> None:
    server = bound_to(HERE, "2600::1")
    server.reachability.reached_by_https("2a00::1", server.monotonic())
    server._greet(Ping(), Endpoint("2a00::1", 7117))
    assert server.is_server
    assert server.is_listed(Endpoint("2a01::1", 7117))
    assert not server.is_listed(Endpoint(ELSEWHERE, 7117))
    assert server.is_listed(Endpoint("192.168.1.9", 7117))


def test_who_is_in_a_scope_of_its_own_may_ask_only_if_the_user_has_named_it() -> None:
    server, named = bound_to(HERE), Endpoint("10.9.9.9", 7117)
    server.named_ips.add(named.ip)
    assert server._is_welcome(named)
    assert server._is_welcome(Endpoint(ELSEWHERE, 7117))
    assert not server._is_welcome(Endpoint("10.9.9.8", 7117))


@pytest.mark.parametrize(
    ("ip", "is_named", "most"),
    [(ELSEWHERE, False, 3), (ELSEWHERE, True, 20), ("192.168.1.9", False, 20)],
)
def test_who_never_answered_is_knocked_at_thrice_unless_he_is_near_or_was_named(
    ip: str, is_named: bool, most: int
) -> None:
    server = bound_to(HERE)
    server.may_knock_again = lambda _: is_named
    assert sum(server._may_knock(Endpoint(ip, 7117)) for _ in range(20)) == most


def test_of_far_contacts_there_are_neither_near_ones_nor_those_that_failed() -> None:
    server = bound_to(HERE)
    well, near, silent = map(contact, (2, 3, 4), (ELSEWHERE, "192.168.1.9", "20.1.1.1"))
    for each in (well, near, silent):
        server.table.admit(each, 100.0)
    server.failed(silent.endpoint)
    assert [each.endpoint for each in server.far_contacts()] == [well.endpoint]


def bypassed(server: Server, to: Endpoint) -> None:
    """A node that answers no datagram is asked by HTTPS, and answers."""

    async def post(_to: Endpoint, body: bytes) -> tuple[bytes, bytes]:
        return encode_reply(body[1:HEADER_BYTES], Reply()), bytes(32)

    server.detour.post = post
    asyncio.run(server.detour.ask(to, Ping()))


def test_when_the_way_changes_the_silent_are_asked_again_and_neighbours_looked_for() -> None:
    server, far = bound_to(HERE), Endpoint(ELSEWHERE, 7117)
    introduced: list[bool] = []
    server.introduce = lambda: introduced.append(server.is_blocked)
    for change in (partial(bypassed, server), server.detour.answered):
        server.acquaintances.kept_silent(far, server.monotonic())
        change(far)
        assert not server.acquaintances.is_silent(far, server.monotonic())
        change(far)  # no change any more
    assert introduced == [True, False]


@pytest.mark.parametrize(("ip", "is_heard"), [(ELSEWHERE, False), ("192.168.1.9", True)])
def test_when_the_far_answer_no_datagrams_what_strangers_sent_before_is_no_evidence(
    ip: str, is_heard: bool
) -> None:
    server = bound_to(HERE)
    server._greet(Ping(), Endpoint("20.1.1.1", 7117))
    bypassed(server, Endpoint(ip, 7117))
    assert server.reachability.is_heard(server.monotonic()) is is_heard
