"""A member whom nobody answers learns why, and what time it is."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.network import MemberKeys, private_network
from p2pfs.peers import silence
from p2pfs.peers.clock import NetworkClock
from p2pfs.peers.errors import NotMemberError, PeerUnavailableError
from p2pfs.peers.reach import listen
from p2pfs.peers.silence import Silence, build_silence, fetch_date
from p2pfs.peers.streams.credentials import client_context, server_context
from p2pfs.peers.streams.http import serve_asgi
from p2pfs.peers.streams.tls import TlsStream
from tests.dht.kad.nodes import open_node, wait_until
from tests.peers.fakes import MemoryBlocks, Script, gateway_of, identity, scripted, serving

FAMILY = private_network("kad-tests", b"sixteen bytes and more")
OTHERS = private_network("kad-tests", b"another secret of theirs").members
HERE, THERE = Endpoint("127.0.0.1", 7117), Endpoint("127.0.0.1", 7118)


def members() -> MemberKeys:
    assert FAMILY.members is not None
    return FAMILY.members


@asynccontextmanager
async def member(script: Script) -> AsyncIterator[Endpoint]:
    async with scripted(script, context=server_context(identity("server"), members())) as peer:
        yield peer.addresses[0]


async def test_a_members_gateway_tells_the_time() -> None:
    context = server_context(identity("server"), members())
    async with serving(gateway_of(MemoryBlocks()), context=context) as peer:
        date = await fetch_date(peer.addresses[0], client_context(members()))
    assert abs(date - time.time()) < 5


async def test_whoever_has_another_secret_is_told_apart() -> None:
    async with member(lambda stream: stream.aclose()) as address:
        with pytest.raises(NotMemberError):
            await fetch_date(address, client_context(OTHERS))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: Mon, 99 Nov 2026 10:00:00 GMT\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: Sun, 01 Nov 99999999999999999999 10:00:00 GMT\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: Wed, 31 Dec 1969 23:59:59 GMT\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000,
        b"x" * 100_000,
    ],
    ids=lambda answer: answer[:30].decode(),
)
async def test_what_is_no_time_is_refused(answer: bytes) -> None:
    async def script(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with member(script) as address:
        with pytest.raises(PeerUnavailableError):
            await fetch_date(address, client_context(members()))


async def problem_if(
    fetch: Callable[[Endpoint], Awaitable[float]], clock: NetworkClock, *, alone: bool = True
) -> str:
    """What a node says that knows two addresses, ten minutes after its start."""
    known = Silence(clock, lambda: alone, lambda: [HERE, THERE], fetch)
    with trio.move_on_after(600):
        await known.run()
    return known.problem


async def test_another_secret_is_named_with_who_has_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def fetch(address: Endpoint) -> float:
        raise NotMemberError("no") if address == THERE else PeerUnavailableError("gone")

    problem = await problem_if(fetch, NetworkClock())
    assert str(THERE) in problem
    assert "secret" in problem


async def test_a_clock_that_is_off_is_mended_and_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = NetworkClock(lambda: 1_000.0)

    async def fetch(_: Endpoint) -> float:
        return 1_600.0

    assert await problem_if(fetch, clock) == ""
    assert clock() == 1_600
    assert "600 s slow" in clock.problem


async def test_a_member_that_has_the_right_time_and_no_datagrams_is_behind_a_firewall(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def fetch(_: Endpoint) -> float:
        return 1_000.0

    clock = NetworkClock(lambda: 1_000.0)
    assert "UDP" in await problem_if(fetch, clock)
    assert await problem_if(fetch, clock, alone=False) == ""


async def test_nothing_is_said_where_nobody_is(autojump_clock: trio.testing.MockClock) -> None:
    async def fetch(_: Endpoint) -> float:
        raise PeerUnavailableError("gone")

    assert await problem_if(fetch, NetworkClock()) == ""


async def test_nobody_is_probed_while_members_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def fetch(_: Endpoint) -> float:
        raise AssertionError

    assert await problem_if(fetch, NetworkClock(), alone=False) == ""


async def test_a_node_whose_clock_is_off_by_ten_minutes_joins_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(silence, "_FIRST_SECONDS", 0.2)
    clock = NetworkClock(lambda: time.time() + 600)
    tls = server_context(identity("server"), members())
    listening = listen([Endpoint("127.0.0.1", 0)], next_free=False)
    with closing(listening):
        async with (
            open_node(network=FAMILY, sock=listening.udp[0]) as (first, address),
            open_node(address, network=FAMILY, clock=clock) as (late, _),
            trio.open_nursery() as nursery,
        ):
            gateway = gateway_of(MemoryBlocks())
            nursery.start_soon(serve_asgi, gateway, listening.tcp, tls)
            await late.wait_settled()
            assert late.contacts() == ()
            known = build_silence(members(), clock, late)
            nursery.start_soon(known.run)
            await wait_until(lambda: len(first.contacts()) == len(late.contacts()) == 1)
            assert abs(clock() - time.time()) < 5
            assert known.problem == ""
            assert "s fast" in clock.problem
            nursery.cancel_scope.cancel()
