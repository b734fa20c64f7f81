import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import Cid, cid_of
from p2pfs.library import providing, surroundings
from p2pfs.library.providing import Providing
from p2pfs.library.rounds import NO_PEERS
from p2pfs.store.catalog import Catalog, open_catalog
from p2pfs.store.dags import keep_root
from p2pfs.store.provided import Provided
from p2pfs.store.share import ShareState
from tests.dht.fakes import DictOverlay, OverlayWorld
from tests.library.kit import identity, join, wait_until

PUBLISHED = (ShareState.PUBLISHED, "")
FOLDER, OTHER = (cid_of(0x70, content) for content in (b"one", b"another"))
ADDRESS = Endpoint("127.0.0.1", 7001)


class CountingOverlay(DictOverlay):
    calls = 0

    async def announce(self, cid: Cid, expires: int) -> int:
        self.calls += 1
        return await super().announce(cid, expires)


def counting(world: OverlayWorld) -> CountingOverlay:
    join(world, 1)
    return CountingOverlay(world, world.nodes[-1]._own)


@asynccontextmanager
async def open_providing(
    root: Path,
    overlay: DictOverlay,
    addresses: Callable[[], list[Endpoint]] = lambda: [ADDRESS],
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Providing]:
    async with open_catalog(root / "catalog.sqlite") as catalog, trio.open_nursery() as nursery:
        await know(catalog, FOLDER, OTHER)
        opened = Providing(overlay, Provided(catalog), addresses, clock)
        nursery.start_soon(opened.run)
        yield opened
        nursery.cancel_scope.cancel()


async def know(catalog: Catalog, *roots: Cid) -> None:
    for cid in roots:
        await catalog.write(lambda connection, cid=cid: keep_root(connection, cid))


def is_published(opened: Providing, *roots: Cid) -> Callable[[], bool]:
    return lambda: all(opened.state(cid) == PUBLISHED for cid in roots)


async def test_a_root_is_announced_by_a_provider_record_only(tmp_path: Path) -> None:
    world = OverlayWorld()
    join(world, 9)
    async with open_providing(tmp_path, counting(world)) as opened:
        opened.provide(FOLDER, "a folder")
        assert opened.state(FOLDER)[0] is ShareState.ANNOUNCING
        await wait_until(is_published(opened, FOLDER))
    assert list(world.providers[FOLDER.multihash]) == [identity(1).public_key]
    assert not world.metas


async def test_alone_all_wait_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providing, "_PROBE_SECONDS", 0.01)
    world = OverlayWorld()
    async with open_providing(tmp_path, counting(world)) as opened:
        for cid in (FOLDER, OTHER):
            opened.provide(cid, "a folder")
            await wait_until(lambda cid=cid: opened.state(cid)[1] == NO_PEERS)
        join(world, 9)
        await wait_until(is_published(opened, FOLDER, OTHER))


async def test_after_a_restart_only_what_is_due_is_announced_again(tmp_path: Path) -> None:
    world = OverlayWorld()
    join(world, 9)
    overlay = counting(world)
    for hours, calls in ((0, 1), (7, 1), (12, 2)):

        def clock(hours: int = hours) -> float:
            return time.time() + hours * 3600

        async with open_providing(tmp_path, overlay, clock=clock) as opened:
            opened.provide(FOLDER, "a folder")
            await wait_until(is_published(opened, FOLDER))
            assert overlay.calls == calls


async def test_what_is_known_at_another_address_is_announced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_LOOK_EVERY_SECONDS", 0.01)
    world = OverlayWorld()
    join(world, 9)
    overlay, addresses = counting(world), [ADDRESS]
    async with open_providing(tmp_path, overlay, lambda: addresses) as opened:
        opened.provide(FOLDER, "a folder")
        await wait_until(is_published(opened, FOLDER))
        addresses[:] = [Endpoint("127.0.0.1", 7002)]
        await wait_until(lambda: overlay.calls == 2)


async def test_what_is_stopped_is_not_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providing, "_PROBE_SECONDS", 0.01)
    world = OverlayWorld()
    overlay = counting(world)
    async with open_providing(tmp_path, overlay) as opened:
        opened.provide(FOLDER, "a folder")
        await wait_until(lambda: overlay.calls > 0)
        opened.stop(FOLDER, "a folder")
        opened.provide(OTHER, "a folder")
        join(world, 9)
        world.providers.clear()
        await wait_until(is_published(opened, OTHER))
    assert FOLDER.multihash not in world.providers


async def test_what_two_want_is_provided_until_the_last_has_enough(tmp_path: Path) -> None:
    world = OverlayWorld()
    join(world, 9)
    async with open_providing(tmp_path, counting(world)) as opened:
        for who in ("a folder", "the same elsewhere", "a folder"):
            opened.provide(FOLDER, who)
        await wait_until(is_published(opened, FOLDER))
        opened.stop(FOLDER, "a folder")
        assert opened.state(FOLDER) == PUBLISHED
        opened.stop(FOLDER, "the same elsewhere")
        assert opened.state(FOLDER) != PUBLISHED
