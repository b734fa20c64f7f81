"""Who is asked to dial a node back, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from p2pfs.dht.kad.reachability import RECHECK_SECONDS
from p2pfs.dht.kad.tending import Tending
from p2pfs.errors import UnreachableError
from tests.dht.kad.nodes import contact
from tests.dht.kad.test_server import HERE, bound_to

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.island import Island
    from p2pfs.dht.kad.membership import Membership

BY_IPV4 = ["20.1.1.1", "20.2.1.1", "20.3.1.1", "20.4.1.1"]
BY_IPV6 = ["2600::1", "2601::1"]
SOON = 60


@pytest.mark.parametrize("reaching", [[], BY_IPV4[:1], BY_IPV6[:1], BY_IPV4 + BY_IPV6])
async def test_of_ipv4_and_of_ipv6_three_are_asked_until_one_gets_through(
    reaching: list[str],
) -> None:
    server = bound_to(HERE)
    asked: list[str] = []
    for number, ip in enumerate(BY_IPV4 + BY_IPV6, 2):
        server.table.admit(contact(number, ip), 100.0)

    async def dial_back(_key: bytes, https: Endpoint, _own_key: bytes, _own_port: int) -> bool:
        asked.append(https.ip)
        if https.ip not in reaching:
            raise UnreachableError("no")
        return True

    tending = Tending(cast("Island", None), server, cast("Membership", None))
    found = await tending._dialed_back(dial_back)
    assert set(found) <= set(reaching)
    for family in (BY_IPV4, BY_IPV6):
        of_it = [ip for ip in asked if ip in family]
        got_through = [ip for ip in found if ip in family]
        assert len(got_through) == 1 or len(of_it) == min(3, len(family))
        assert got_through in ([], of_it[-1:])


def test_a_node_is_checked_soon_after_it_meets_the_first_of_whom_it_is_a_client() -> None:
    server = bound_to(HERE)
    tending = Tending(cast("Island", None), server, cast("Membership", None))
    assert tending._pause(set()) == SOON
    server.table.admit(contact(2, "192.168.1.9"), 100.0)
    assert tending._pause(set()) == RECHECK_SECONDS  # to those near by every node is a server
    for number, ip in ((3, BY_IPV4[0]), (4, BY_IPV6[0])):
        asked = tending._unlisted_at()
        server.table.admit(contact(number, ip), 100.0)
        assert tending._pause(asked) == 0
        assert tending._pause(tending._unlisted_at()) == SOON
        server.reachability.heard(ip, 100.0)
        server.reachability.reached_by_https(ip, 100.0)
        assert tending._pause(tending._unlisted_at()) == RECHECK_SECONDS
