"""The user's limits: on a clock of our own, then over real sockets."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator
from functools import partial

import pytest
import trio
import trio.testing

from p2pfs import settingvalues
from p2pfs.concurrency import all_of
from p2pfs.peers import peerstream
from p2pfs.peers.client import open_client
from p2pfs.peers.pacing import Link
from tests.content.dags import balanced
from tests.peers.fakes import MemoryBlocks, MemorySink, gateway_of, serving

MIB = 1 << 20
FILE = balanced(random.Random(3).randbytes(4 * MIB), 256 << 10, 8)


async def pieces(count: int, size: int = MIB) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        yield bytes(size)


async def send(link: Link, group: str, count: int, size: int = MIB) -> float:
    """When the last of so many pieces was due."""
    async for _ in link.paced(group, pieces(count, size)):
        pass
    return trio.current_time()


async def test_the_limit_holds_for_all_peers_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    link, started = Link(8 * MIB), trio.current_time()
    groups = [f"10.0.0.{number}" for number in range(10)]
    await all_of([partial(send, link, group, 4) for group in groups])
    assert 4.8 <= trio.current_time() - started <= 5.0


async def test_a_peer_of_many_connections_gets_no_more_than_one_of_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    link, started = Link(MIB), trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(7):
            nursery.start_soon(send, link, "10.0.0.1", 10)
        assert await send(link, "10.0.0.2", 2) - started < 4.2
        nursery.cancel_scope.cancel()


async def test_what_is_small_does_not_wait_behind_what_is_large(
    autojump_clock: trio.testing.MockClock,
) -> None:
    link = Link(64 << 10)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(send, link, f"10.0.0.{number}", 10)
        await trio.sleep(1)
        for group in ("10.0.0.1", "10.0.0.99"):
            started = trio.current_time()
            assert await send(link, group, 1, 400) - started < 0.1
        nursery.cancel_scope.cancel()


async def test_many_small_ones_are_limited_too(autojump_clock: trio.testing.MockClock) -> None:
    link, started = Link(64 << 10), trio.current_time()
    await all_of([partial(send, link, f"10.0.0.{number}", 100, 1024) for number in range(10)])
    assert trio.current_time() - started > 14


async def fetch_seconds(limit_up: int | None, limit_down: int | None) -> float:
    """How long the file takes from one node to another on this machine."""
    uplink = Link(limit_up) if limit_up else None
    gateway = gateway_of(MemoryBlocks(FILE), uplink=uplink)
    async with serving(gateway) as peer, open_client(limit_down) as asking:
        sink, started = MemorySink(FILE.size), trio.current_time()
        await asking.fetch_range(peer, FILE.root, FILE.size, 0, FILE.size, sink)
        assert sink.landed_bytes == FILE.size
        return trio.current_time() - started


async def test_a_node_that_sends_less_than_it_could_does_so_to_near_ones_too() -> None:
    assert 0.9 <= await fetch_seconds(4 * MIB, None) < 1.6


async def test_a_node_takes_no_more_than_it_may() -> None:
    assert 0.9 <= await fetch_seconds(None, 4 * MIB) < 1.6


async def test_the_least_limit_is_enough_for_two_peers_with_two_connections_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peerstream, "_SILENCE_SECONDS", peerstream._SILENCE_SECONDS / 10)
    least = peerstream._LEAST_BYTES_A_WINDOW // 10
    monkeypatch.setattr(peerstream, "_LEAST_BYTES_A_WINDOW", least)
    dag = balanced(os.urandom(32 << 10), 16 << 10)
    uplink = Link(settingvalues._MIN_RATE)
    sinks = [MemorySink(dag.size) for _ in range(4)]
    async with (
        serving(gateway_of(MemoryBlocks(dag), uplink=uplink)) as peer,
        open_client() as one,
        open_client() as other,
        trio.open_nursery() as nursery,
    ):
        for asking, sink in zip((one, one, other, other), sinks, strict=True):
            nursery.start_soon(asking.fetch_range, peer, dag.root, dag.size, 0, dag.size, sink)
    assert [sink.landed_bytes for sink in sinks] == [dag.size] * 4
