"""A machine whose clock is off counts as its network does."""

from __future__ import annotations

import socket
import time
from contextlib import AsyncExitStack

import pytest

from p2pfs.peers.clock import NetworkClock
from tests.dht.kad.nodes import open_node, wait_until


@pytest.mark.parametrize(
    ("told", "offset"), [(1_010.0, 0.0), (970.0, 0.0), (1_600.0, 600.0), (400.0, -600.0)]
)
def test_a_clock_follows_others_only_if_the_difference_matters(told: float, offset: float) -> None:
    clock = NetworkClock(lambda: 1_000.0)
    clock.set(told)
    assert (clock.offset, clock()) == (offset, 1_000.0 + offset)


def test_a_clock_that_was_set_right_is_believed_again() -> None:
    system = [1_000.0]
    clock = NetworkClock(lambda: system[0])
    clock.set(1_600)
    system[0] = 1_600
    clock.set(1_600)
    assert clock() == 1_600


@pytest.mark.parametrize(
    ("differences", "offset"),
    [([0.0], 0.0), ([299.0], 0.0), ([-600.0], -600.0), ([600.0, 0.0], 600.0), ([600.0, -600.0], 0)],
)
def test_a_clock_follows_most_peers_beyond_five_minutes(
    differences: list[float], offset: float
) -> None:
    clock = NetworkClock(lambda: 1_000.0)
    for difference in differences:
        clock.adjust(difference)
    assert clock() == 1_000.0 + offset


def test_a_person_is_told_only_of_a_clock_that_is_off() -> None:
    clock = NetworkClock(lambda: 1_000.0)
    assert clock.problem == ""
    clock.set(1_600)
    assert "600 s slow" in clock.problem
    clock.adjust(-1_200)
    assert "600 s fast" in clock.problem


async def test_a_node_learns_the_time_of_three_networks_and_not_of_two() -> None:
    clock = NetworkClock(lambda: time.time() - 1_000)
    async with AsyncExitStack() as nodes:
        late, address = await nodes.enter_async_context(open_node(clock=clock))

        async def meet(ip: str, known: int) -> None:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((ip, 0))
            sock.setblocking(False)
            await nodes.enter_async_context(open_node(address, sock=sock))
            await wait_until(lambda: len(late.contacts()) == known)
            await late.set_clock(clock.adjust)

        await meet("127.0.0.2", 1)
        await meet("127.0.0.3", 2)
        assert clock.offset == 0
        await meet("127.0.0.4", 3)
        assert abs(clock() - time.time()) < 3
        await late.set_clock(clock.adjust)
        assert abs(clock() - time.time()) < 3
