from __future__ import annotations

import pytest
import trio
import trio.testing

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import RAW, Cid, cid_of
from p2pfs.library import surroundings
from p2pfs.library.rounds import Rounds

ONE, OTHER = (cid_of(RAW, content) for content in (b"one", b"another"))


async def test_what_is_due_while_it_is_under_way_is_looked_at_again_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    under_way = most = 0
    looks: list[Cid] = []

    async def look(cid: Cid) -> None:
        nonlocal under_way, most
        under_way += cid == ONE
        most = max(most, under_way)
        looks.append(cid)
        await trio.sleep(10)
        under_way -= cid == ONE

    rounds = Rounds(look, list, list)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        for _ in range(3):
            rounds.look(ONE)
            await trio.sleep(1)
        rounds.look(OTHER)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert looks == [ONE, OTHER, ONE]
    assert most == 1


async def test_a_node_that_moves_looks_at_everything(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Cid] = []
    addresses = [Endpoint("127.0.0.1", 7001)]

    async def look(cid: Cid) -> None:
        looks.append(cid)
        await trio.lowlevel.checkpoint()

    rounds = Rounds(look, lambda: [ONE, OTHER], lambda: addresses, trio.current_time)
    monkeypatch.setattr(surroundings, "_LOOK_EVERY_SECONDS", 1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rounds.run)
        await trio.sleep(5)
        assert not looks
        addresses[:] = [Endpoint("127.0.0.1", 7002)]
        await trio.sleep(5)
        assert sorted(looks, key=str) == sorted([ONE, OTHER], key=str)
        nursery.cancel_scope.cancel()
