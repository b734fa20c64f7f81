from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import trio
import trio.testing

from p2pfs.content.cid import RAW, Cid, cid_of
from p2pfs.library import seeding
from p2pfs.library.reading import Transfer
from p2pfs.library.seeding import Seeding
from p2pfs.store.accounts import CachedObject


def cid(number: int) -> Cid:
    return cid_of(RAW, str(number).encode())


@dataclass
class FakeNode:
    """What a node has open, has kept and shares, and notes of what is provided, and since when."""

    opened: list[Cid] = field(default_factory=list)
    size: int = 10
    kept: list[Cid] = field(default_factory=list)
    shared: list[Cid] = field(default_factory=list)
    forbidden: list[Cid] = field(default_factory=list)
    provided: dict[Cid, float] = field(default_factory=dict)

    def transfers(self) -> list[Transfer]:
        return [Transfer(cid, self.size, 1, {}, "") for cid in self.opened]

    def cached(self) -> list[CachedObject]:
        return [CachedObject(cid, 10, 1, 0) for cid in self.opened + self.kept]

    def by_cid(self, cid: Cid) -> list[Cid]:
        return [cid] if cid in self.shared else []

    def provide(self, cid: Cid, _by: object) -> None:
        self.provided.setdefault(cid, trio.current_time())

    def stop(self, cid: Cid, _by: object) -> None:
        del self.provided[cid]


@asynccontextmanager
async def running(node: FakeNode) -> AsyncIterator[None]:
    told = Seeding(
        node,  # type: ignore[arg-type]
        node,  # type: ignore[arg-type]
        node,  # type: ignore[arg-type]
        node,  # type: ignore[arg-type]
        lambda cid: cid not in node.forbidden,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run)
        yield
        nursery.cancel_scope.cancel()


async def test_what_is_being_fetched_is_told_within_two_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = FakeNode()
    async with running(node):
        await trio.sleep(5)
        node.opened += [cid(1), cid(2)]
        await trio.sleep(2)
        assert set(node.provided) == {cid(1), cid(2)}


async def test_of_a_large_content_others_are_told_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = FakeNode(size=100 << 20)
    async with running(node):
        await trio.sleep(5.1)
        node.opened.append(cid(1))
        await trio.sleep(0.3)
        assert cid(1) in node.provided


async def test_what_is_kept_is_told_at_a_steady_pace_the_latest_used_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = FakeNode(kept=[cid(number) for number in range(20)])
    async with running(node):
        await trio.sleep(600)
    assert list(node.provided) == node.kept
    starts = list(node.provided.values())
    assert all(b - a >= seeding._KEPT_SECONDS for a, b in pairwise(starts))


async def test_what_is_evicted_or_not_seeded_any_more_is_told_no_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = FakeNode(kept=[cid(1), cid(2), cid(3)])
    async with running(node):
        await trio.sleep(60)
        assert len(node.provided) == 3
        node.kept.remove(cid(1))
        node.forbidden.append(cid(2))
        await trio.sleep(20)
        assert set(node.provided) == {cid(3)}


async def test_own_files_and_what_is_not_seeded_are_not_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = FakeNode(opened=[cid(1), cid(2), cid(3)], shared=[cid(1)], forbidden=[cid(2)])
    async with running(node):
        await trio.sleep(60)
        assert set(node.provided) == {cid(3)}
        node.forbidden.clear()  # pinned, say
        await trio.sleep(2)
        assert set(node.provided) == {cid(3), cid(2)}
