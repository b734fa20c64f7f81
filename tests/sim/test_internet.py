from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from p2pfs.addresses import Endpoint
from tests.sim.internet import Attachment, Internet, Latency, scattered, steady
from tests.sim.loop import VirtualLoop

HERE, THERE = Endpoint("1.1.1.1", 7117), Endpoint("2.2.2.2", 7117)
Scenario = Callable[[Internet, Attachment, list[bytes]], Coroutine[Any, Any, None]]


def run(scenario: Scenario, latency: Latency | None = None, loss: float = 0.0) -> list[bytes]:
    """What arrived at THERE."""
    loop = VirtualLoop()
    internet = Internet(loop, Random(1), latency or steady(0.1), loss)
    arrived: list[bytes] = []

    async def main() -> None:
        there, here = Attachment(internet, THERE), Attachment(internet, HERE)
        await there.open(lambda data, _: arrived.append(data))
        await here.open(lambda _data, _source: None)
        await scenario(internet, here, arrived)
        await asyncio.sleep(10)

    loop.run_until_complete(main())
    loop.close()
    return arrived


def test_a_datagram_arrives_after_half_a_round_trip() -> None:
    async def scenario(internet: Internet, here: Attachment, arrived: list[bytes]) -> None:
        here.sendto(b"hello", THERE)
        await asyncio.sleep(0.04)
        assert not arrived
        await asyncio.sleep(0.02)
        assert arrived
        assert internet.traffic[HERE].sent_bytes == internet.traffic[THERE].received_bytes == 5

    assert run(scenario) == [b"hello"]


def test_some_datagrams_are_lost() -> None:
    async def scenario(internet: Internet, here: Attachment, arrived: list[bytes]) -> None:
        for _ in range(1_000):
            here.sendto(b"x", THERE)

    assert len(run(scenario, loss=0.1)) == pytest.approx(900, abs=30)


def test_datagrams_overtake_each_other() -> None:
    async def scenario(internet: Internet, here: Attachment, arrived: list[bytes]) -> None:
        for number in range(100):
            here.sendto(bytes([number]), THERE)

    arrived = run(scenario, scattered(0.1))
    assert len(arrived) == 100
    assert arrived != sorted(arrived)


def test_a_parted_network_carries_nothing_across_until_it_heals() -> None:
    async def scenario(internet: Internet, here: Attachment, arrived: list[bytes]) -> None:
        internet.part({HERE.ip}, {THERE.ip})
        here.sendto(b"lost", THERE)
        internet.heal()
        here.sendto(b"found", THERE)

    assert run(scenario) == [b"found"]


def test_whoever_is_detached_receives_not_even_what_was_under_way() -> None:
    async def scenario(internet: Internet, here: Attachment, arrived: list[bytes]) -> None:
        here.sendto(b"late", THERE)
        internet.detach(THERE)

    assert run(scenario) == []


def test_the_median_of_scattered_round_trips_is_what_was_asked_for() -> None:
    latency, random = scattered(0.05), Random(3)
    trips = sorted(
        2 * latency(Endpoint(f"1.1.{each % 250}.{each // 250}", 1), THERE, random)
        for each in range(2_000)
    )
    assert trips[1_000] == pytest.approx(0.0525, rel=0.1)
    assert trips[100] < 0.03
    assert trips[1_900] > 0.1
