"""A node finds out by dial-backs whether strangers get through to it."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.dht.kad.acquaintances import Acquaintances
from p2pfs.dht.kad.dialbacks import Dialbacks
from p2pfs.dht.kad.reachability import Reachability
from p2pfs.dht.kad.referrals import pack_address
from p2pfs.dht.kad.wire import Reach, Reply, Request

if TYPE_CHECKING:
    from p2pfs.dht.kad.server import Server

HELPER, STRANGER = Endpoint("8.8.8.8", 7117), Endpoint("9.9.9.9", 7117)


class Asking:
    """A server's part in it: whom it may ask, and what it has asked for."""

    def __init__(self) -> None:
        self.random = random.Random(0)
        self.settings = self
        self.reachability = Reachability(None, self.random)
        self.acquaintances = Acquaintances()
        self.asker = self
        self.nonces: list[bytes] = []
        self.neighbourhood = Neighbourhood()
        self.protocol = self
        self.told: list[Endpoint] = []

    def tell(self, to: Endpoint, _request: Request) -> None:
        self.told.append(to)

    def monotonic(self) -> float:
        return 100.0

    def far_contacts(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(endpoint=HELPER)]

    async def ask(self, to: Endpoint, request: Request) -> Reply:
        self.acquaintances.asking(to)
        assert isinstance(request, Reach)
        self.nonces.append(request.dial_nonce)
        return Reply()


def test_a_nonce_that_was_not_given_out_ends_no_waiting_for_the_right_one() -> None:
    async def check() -> bool:
        server = Asking()
        dialbacks = Dialbacks(cast("Server", server))
        checking = asyncio.create_task(dialbacks.check())
        while not server.nonces:  # noqa: ASYNC110 nothing tells
            await asyncio.sleep(0)
        dialbacks.dialed(b"x" * 16, STRANGER)
        await asyncio.sleep(0.05)
        dialbacks.dialed(server.nonces[0], STRANGER)
        return await checking

    assert asyncio.run(check())


def test_a_nonce_from_another_port_of_who_was_asked_says_nothing() -> None:
    server = Asking()
    server.acquaintances.asking(HELPER)
    for source, counts in ((Endpoint(HELPER.ip, 50_000), False), (STRANGER, True)):
        nonce = server.reachability.expect(100.0)
        Dialbacks(cast("Server", server)).dialed(nonce, source)
        assert server.reachability.is_heard(100.0) is counts


def test_who_was_dialed_is_no_stranger_after_that() -> None:
    server = Asking()
    Dialbacks(cast("Server", server)).dial(b"n" * 16, pack_address(STRANGER), HELPER)
    assert server.told == [STRANGER]
    assert server.acquaintances.was_sent_to(STRANGER.ip)
