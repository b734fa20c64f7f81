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
    from collections.abc import Iterable

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
        self.known = [HELPER]
        self.asked: list[Endpoint] = []
        self.nonces: list[bytes] = []
        self.now = 100.0
        self.neighbourhood = Neighbourhood()
        self.protocol = self
        self.told: list[Endpoint] = []

    def tell(self, to: Endpoint, _request: Request) -> None:
        self.told.append(to)

    def monotonic(self) -> float:
        return self.now

    def far_contacts(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(endpoint=each) for each in self.known]

    async def ask(self, to: Endpoint, request: Request) -> Reply:
        self.acquaintances.asking(to, self.now)
        self.asked.append(to)
        if isinstance(request, Reach):
            self.nonces.append(request.dial_nonce)
        return Reply()


def helpers(known: Iterable[Endpoint], askers: Iterable[Endpoint]) -> list[Endpoint]:
    """Whom a node that knows these asks to dial those who ask it for that, all at once."""
    server = Asking()
    server.known = list(known)

    async def ask() -> None:
        dialbacks = Dialbacks(cast("Server", server))
        for asker in askers:
            dialbacks.reach(b"n" * 16, asker)
        await asyncio.sleep(0)

    asyncio.run(ask())
    return server.asked


def in_one_16(count: int) -> list[Endpoint]:
    return [Endpoint(f"20.1.{number}.1", 7117) for number in range(count)]


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
    server.acquaintances.asking(HELPER, server.now)
    for source, counts in ((Endpoint(HELPER.ip, 50_000), False), (STRANGER, True)):
        nonce = server.reachability.expect(100.0)
        Dialbacks(cast("Server", server)).dialed(nonce, source)
        assert server.reachability.is_heard(100.0) is counts


def test_who_was_dialed_is_no_stranger_after_that() -> None:
    server = Asking()
    Dialbacks(cast("Server", server)).dial(b"n" * 16, pack_address(STRANGER), HELPER)
    assert server.told == [STRANGER]
    assert server.acquaintances.was_sent_to(STRANGER.ip, server.now)


def test_a_target_is_dialed_once_in_ten_seconds_whoever_tells_of_it() -> None:
    server = Asking()
    dialbacks = Dialbacks(cast("Server", server))
    targets = [STRANGER, Endpoint(STRANGER.ip, 50_000), HELPER]
    for target, teller in zip(targets, in_one_16(3), strict=True):
        dialbacks.dial(b"n" * 16, pack_address(target), teller)
    assert server.told == [STRANGER, HELPER]
    server.now += 10
    dialbacks.dial(b"n" * 16, pack_address(STRANGER), HELPER)
    assert server.told == [STRANGER, HELPER, STRANGER]


def test_no_target_is_dialed_that_its_teller_may_not_name() -> None:
    server = Asking()
    for ip in ("127.0.0.1", "192.168.1.2"):
        target = pack_address(Endpoint(ip, 7117))
        Dialbacks(cast("Server", server)).dial(b"n" * 16, target, HELPER)
    assert server.told == []


def test_the_helper_is_of_another_network_than_the_asker() -> None:
    asker, *neighbours = in_one_16(20)
    assert helpers([*neighbours, HELPER], [asker]) == [HELPER]
    assert helpers(neighbours, [asker]) == []


def test_who_knows_too_few_for_that_asks_a_neighbour_of_the_asker_and_never_himself() -> None:
    asker, *neighbours = in_one_16(3)
    himself = Endpoint(asker.ip, 50_000)
    assert helpers([neighbours[0], himself], [asker]) == neighbours[:1]
    assert helpers([himself], [asker]) == []


def test_the_helper_is_one_that_has_a_way_to_the_asker_if_one_is_known() -> None:
    of_ipv6, asker = Endpoint("2600::1", 7117), Endpoint("2a00::1", 7117)
    assert helpers([*in_one_16(20), of_ipv6], [asker]) == [of_ipv6]
    assert len(helpers(in_one_16(20), [asker])) == 1


def test_by_ipv4_and_by_ipv6_others_are_asked() -> None:
    async def check() -> list[Endpoint]:
        server = Asking()
        server.known = [*in_one_16(20), Endpoint("2600::1", 7117)]
        dialbacks = Dialbacks(cast("Server", server))
        checking = asyncio.create_task(dialbacks.check())
        for asked in (3, 4):
            while len(server.nonces) < asked:  # noqa: ASYNC110 nothing tells
                await asyncio.sleep(0)
            dialbacks.dialed(server.nonces[-1], STRANGER)
        await checking
        return server.asked

    assert Endpoint("2600::1", 7117) in asyncio.run(check())


def test_however_many_want_to_be_dialed_some_are_at_once() -> None:
    assert len(helpers([HELPER], in_one_16(100))) == 32
