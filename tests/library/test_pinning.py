"""What is pinned is fetched whole, several small files at once, and gone on with after a stop."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2pfs.content.directory import build_directory
from p2pfs.errors import NoSpaceError, NotFoundError, UnreachableError
from p2pfs.library import pinning as pinning_module
from p2pfs.library.pinning import Pinning
from p2pfs.store.catalog import open_catalog
from p2pfs.store.errors import CatalogError
from p2pfs.store.pins import Pins
from tests.content.dags import Dag
from tests.library.test_reading import reading_of
from tests.transfer.fakes import KIB, MIB, FakeClient, FakePeer, file_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2pfs.content.cid import Cid
    from tests.library.test_reading import FakeStore

SMALL = [file_of(300 * KIB + number)[0] for number in range(40)]
LARGE, _ = file_of(8 * MIB)


def tree() -> tuple[Cid, dict[Cid, bytes]]:
    """A directory with a large file, and forty small ones in a directory of their own."""
    inner = build_directory([(f"{n:02}", dag.root, dag.size) for n, dag in enumerate(SMALL)])
    size = sum(dag.size for dag in SMALL) + len(inner.block)
    outer = build_directory([("large", LARGE.root, LARGE.size), ("small", inner.cid, size)])
    return outer.cid, {inner.cid: inner.block, outer.cid: outer.block}


@asynccontextmanager
async def pinning_of(
    home: Path, client: FakeClient
) -> AsyncIterator[tuple[Pinning, Pins, FakeStore]]:
    for dag in SMALL:
        client.add(dag)
    root, blocks = tree()
    client.add(Dag(root, 0, blocks))
    async with (
        open_catalog(home / "catalog") as catalog,
        reading_of(client, LARGE, *SMALL) as (reading, store),
    ):
        pins = Pins(catalog)
        yield Pinning(reading, pins, store.room), pins, store


@pytest.mark.parametrize("latency", [0.05])
async def test_a_directory_is_pinned_with_all_that_is_in_it(tmp_path: Path, latency: float) -> None:
    client = FakeClient(LARGE, a=FakePeer(latency=latency))
    root, blocks = tree()
    async with pinning_of(tmp_path, client) as (pinning, pins, store):
        started = trio.current_time()
        steps = [step async for step in pinning.pin(root)]
        assert trio.current_time() - started < 40 * latency  # not one after the other
        size = LARGE.size + sum(dag.size for dag in SMALL)
        assert steps[-1] == (root, size, size, 41)
        assert [step.done for step in steps] == sorted({step.done for step in steps})
        for dag in (LARGE, *SMALL):
            assert store.objects[dag.root].checked.covers(0, dag.size)
            assert pins.is_pinned(dag.root)
        assert all(map(pins.is_pinned, blocks))
        ((pin, here),) = pinning.all()
        assert (pin.cid, pin.size, here) == (root, size, size)
        assert await pinning.unpin(root) == root
        assert not pins.contents()
        with pytest.raises(NotFoundError):
            await pinning.unpin(root)


async def test_what_does_not_fit_is_not_pinned(tmp_path: Path) -> None:
    client = FakeClient(LARGE, a=FakePeer())
    async with pinning_of(tmp_path, client) as (pinning, pins, store):
        store.room.quota = MIB
        with pytest.raises(NoSpaceError):
            await anext(pinning.pin(tree()[0]))
        assert not pins.contents()


async def test_an_interrupted_pin_is_gone_on_with(tmp_path: Path) -> None:
    client = FakeClient(LARGE, a=FakePeer())
    root, _ = tree()
    async with pinning_of(tmp_path, client) as (pinning, pins, store):
        (peer,) = client.peers.values()
        steps = pinning.pin(root)
        assert (await anext(steps)).done == 0
        peer.is_gone = True
        with pytest.raises(UnreachableError):
            async for _ in steps:
                pass
        peer.is_gone = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pinning.run)
            with trio.fail_after(5):
                while not all(held.present for held in store.objects.values()):  # noqa: ASYNC110
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        assert pins.is_pinned(root)


async def test_what_is_unpinned_while_another_is_gone_on_with_stays_unpinned(
    tmp_path: Path,
) -> None:
    client = FakeClient(LARGE, a=FakePeer(rate=16 * MIB))
    async with pinning_of(tmp_path, client) as (pinning, pins, store):
        files = [LARGE, SMALL[0]]
        for dag in files:
            await pins.add(dag.root, [(dag.root, dag.size)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pinning.run)
            with trio.fail_after(5):
                while not any(held.present for held in store.objects.values()):  # noqa: ASYNC110
                    await trio.sleep(0.01)
            for dag in files:
                await pinning.unpin(dag.root)
            await trio.sleep(1.5)
            nursery.cancel_scope.cancel()
        assert not pins.contents()
        assert not store.objects[LARGE.root].present.covers(0, LARGE.size)


async def test_a_catalogue_that_cannot_be_read_for_a_moment_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Pins) -> list[Cid]:
        await trio.lowlevel.checkpoint()
        raise CatalogError("disk I/O error")

    monkeypatch.setattr(pinning_module, "_RESUME_SECONDS", 0.02)
    client = FakeClient(LARGE, a=FakePeer())
    async with pinning_of(tmp_path, client) as (pinning, pins, store):
        await pins.add(SMALL[0].root, [(SMALL[0].root, SMALL[0].size)])
        async with trio.open_nursery() as nursery:
            with monkeypatch.context() as broken:
                broken.setattr(Pins, "unfinished", refuse)
                nursery.start_soon(pinning.run)
                await trio.sleep(0.1)
            with trio.fail_after(5):
                while not any(held.present for held in store.objects.values()):  # noqa: ASYNC110
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
