"""Asking one node whose datagrams are played: one handshake for all who need its token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.acquaintances import Acquaintances
from p2pfs.dht.kad.asking import Asker
from p2pfs.dht.kad.detour import Detour
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.protocol import Protocol
from p2pfs.dht.kad.settings import Settings
from p2pfs.dht.kad.wire import Find, Ping, Reply, Request
from p2pfs.errors import MalformedError
from tests.dht.kad.nodes import NETWORK

TO, TOKEN = Endpoint("127.0.0.1", 7117), b"t" * 16


class PlayedNode:
    """Its own protocol and detour: what it is asked, and what it answers after 10 ms."""

    def __init__(self, *answers: Reply | None) -> None:
        self.asked: list[type[Request]] = []
        self.answers = list(answers)

    async def call(self, _to: Endpoint, request: Request, _timeout: float) -> Reply:
        self.asked.append(type(request))
        await asyncio.sleep(0.01)
        answer = self.answers.pop(0) if isinstance(request, Ping) else Reply(count=3)
        if answer is None:
            raise SilentError("nobody")
        return answer

    def is_taken_to(self, _to: Endpoint) -> bool:
        return False

    is_worth_trying = is_taken_to

    def sent(self, _to: Endpoint) -> None: ...

    answered = sent


def _asker(node: PlayedNode, acquaintances: Acquaintances) -> Asker:
    settings = SimpleNamespace(
        network=NETWORK, random=Random(1), clock=lambda: 0.0, monotonic=lambda: 0.0
    )
    return Asker(
        cast("Protocol", node),
        cast("Detour", node),
        cast("Settings", settings),
        lambda: 1,
        acquaintances,
        lambda _to: True,
        lambda request, _token, _to: request,
    )


def _run(act: Callable[[Asker], Coroutine[Any, Any, None]], node: PlayedNode) -> None:
    asker = _asker(node, Acquaintances())
    asyncio.run(act(asker))
    assert asker._handshakes == {}


def test_those_who_need_a_token_at_once_ask_for_it_once() -> None:
    async def act(asker: Asker) -> None:
        asks = (asker.ask(TO, Find(key=bytes(20))) for _ in range(3))
        assert [reply.count for reply in await asyncio.gather(*asks)] == [3, 3, 3]

    node = PlayedNode(Reply(token=TOKEN))
    _run(act, node)
    assert node.asked == [Ping, Find, Find, Find]


def test_one_who_leaves_takes_nobodys_token_with_him() -> None:
    async def act(asker: Asker) -> None:
        first = asyncio.create_task(asker.ask(TO, Find(key=bytes(20))))
        others = [asyncio.create_task(asker.ask(TO, Find(key=bytes(20)))) for _ in range(2)]
        await asyncio.sleep(0)
        first.cancel()
        assert [reply.count for reply in await asyncio.gather(*others)] == [3, 3]

    node = PlayedNode(Reply(token=TOKEN))
    _run(act, node)
    assert node.asked == [Ping, Find, Find]  # the first datagrams to an address are counted


def test_of_one_that_keeps_silent_all_are_told_at_once() -> None:
    async def act(asker: Asker) -> None:
        asks = (asker.ask(TO, Find(key=bytes(20))) for _ in range(3))
        replies = await asyncio.gather(*asks, return_exceptions=True)
        assert [type(reply) for reply in replies] == [SilentError] * 3

    node = PlayedNode(None)
    _run(act, node)
    assert node.asked == [Ping]


def test_of_one_that_gives_no_token_all_are_told_at_once() -> None:
    async def act(asker: Asker) -> None:
        asks = (asker.ask(TO, Find(key=bytes(20))) for _ in range(3))
        replies = await asyncio.gather(*asks, return_exceptions=True)
        assert [type(reply) for reply in replies] == [MalformedError] * 3

    node = PlayedNode(Reply())
    _run(act, node)
    assert node.asked == [Ping]


@pytest.mark.parametrize("attempts", [1, 2])
def test_silence_is_no_verdict_for_ever(attempts: int) -> None:
    async def act(asker: Asker) -> None:
        for _ in range(attempts):
            with pytest.raises(SilentError):
                await asker.ask(TO, Find(key=bytes(20)))
        assert (await asker.ask(TO, Find(key=bytes(20)))).count == 3

    node = PlayedNode(*[None] * attempts, Reply(token=TOKEN))
    _run(act, node)


def test_who_was_asked_by_detour_was_asked() -> None:
    """Else lookups would take it for a stranger, again and again."""

    class Blocked(PlayedNode):
        def is_taken_to(self, _to: Endpoint) -> bool:
            return True

        async def ask(self, _to: Endpoint, _request: Request) -> tuple[Reply, bytes]:
            raise SilentError("nobody")

    acquaintances = Acquaintances()
    asker = _asker(Blocked(), acquaintances)
    with pytest.raises(SilentError):
        asyncio.run(asker.ask(TO, Find(key=bytes(20))))
    assert acquaintances.was_asked(TO)
