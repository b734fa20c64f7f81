import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio.testing

from p2pfs.content.metainfo import LIFETIME_SECONDS
from p2pfs.library import announcing, surroundings
from p2pfs.store.share import ShareState
from tests.dht.fakes import OverlayWorld
from tests.library.id3 import mp3
from tests.library.kit import identity, join, open_library, wait_until

PUBLISHED = ShareState.PUBLISHED


def metas_under(world: OverlayWorld, tag: str) -> list[tuple[str, bool]]:
    return sorted((meta.name, meta.withdrawn) for meta in world.metas.get(tag, {}).values())


def two_nodes() -> OverlayWorld:
    world = OverlayWorld()
    join(world, 9)
    return world


async def test_a_file_is_published_under_all_its_tags(tmp_path: Path) -> None:
    world = two_nodes()
    async with open_library(tmp_path, join(world, 1), 1) as node:
        node.write("blue-notes/song.mp3", mp3(title="Blue Night", artist="Pearl Jam"))
        await node.wait_state("blue-notes/song.mp3", PUBLISHED)
        row = await node.wait_share("blue-notes/song.mp3")
        assert row.cid is not None
        assert list(world.providers[row.cid.multihash]) == [identity(1).public_key]
        for tag in ("blue-notes", "music", "artist:pearl-jam", "word:night", "word:song"):
            assert metas_under(world, tag) == [("song.mp3", False)]
        assert row.announced_until - time.time() > LIFETIME_SECONDS - 60


async def test_while_many_files_come_in_none_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "_GIVE_WAY_SECONDS", 1000)
    busy, world = [True], two_nodes()
    async with open_library(tmp_path, join(world, 1), 1, batch_comes_in=lambda: bool(busy)) as node:
        node.write("x/a.txt", b"a")
        await node.wait_share("x/a.txt")
        await trio.testing.wait_all_tasks_blocked()
        assert not world.metas
        busy.clear()
        await node.wait_state("x/a.txt", PUBLISHED)


async def test_of_a_batch_without_an_end_all_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "_GIVE_WAY_SECONDS", 0.05)
    async with open_library(tmp_path, join(two_nodes(), 1), 1, batch_comes_in=lambda: True) as node:
        for number in range(10):
            node.write(f"x/{number}", b"%d" % number)
        for number in range(10):
            await node.wait_state(f"x/{number}", PUBLISHED)


async def test_alone_a_file_waits_and_says_so(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with open_library(tmp_path, join(world, 1), 1) as node:
        for name in ("a.txt", "b.txt", "c.txt"):
            node.write(name, name.encode())
        for name in ("a.txt", "b.txt", "c.txt"):
            await node.wait_state(name, ShareState.ANNOUNCING, "no peers yet")
        join(world, 2)
        for name in ("a.txt", "b.txt", "c.txt"):
            await node.wait_state(name, PUBLISHED)


async def test_a_removed_file_is_withdrawn(tmp_path: Path) -> None:
    world = two_nodes()
    async with open_library(tmp_path, join(world, 1), 1) as node:
        node.write("x/a.txt", b"a")
        await node.wait_state("x/a.txt", PUBLISHED)
        node.remove("x/a.txt")
        await wait_until(lambda: metas_under(world, "x") == [("a.txt", True)])


async def test_what_was_removed_while_alone_is_withdrawn_after_a_restart(tmp_path: Path) -> None:
    world = two_nodes()
    overlay = join(world, 1)
    async with open_library(tmp_path, overlay, 1) as node:
        node.write("x/a.txt", b"a")
        await node.wait_state("x/a.txt", PUBLISHED)
        others, world.nodes = world.nodes, [overlay]
        node.remove("x/a.txt")
        await node.wait_gone("x/a.txt")
    world.nodes = others
    async with open_library(tmp_path, overlay, 1):
        await wait_until(lambda: metas_under(world, "x") == [("a.txt", True)])


async def test_a_copy_keeps_the_content_published(tmp_path: Path) -> None:
    world = two_nodes()
    async with open_library(tmp_path, join(world, 1), 1) as node:
        node.write("x/a.txt", b"same")
        node.write("y/b.txt", b"same")
        await node.wait_state("x/a.txt", PUBLISHED)
        await node.wait_state("y/b.txt", PUBLISHED)
        await wait_until(lambda: metas_under(world, "y") == [("a.txt", False)])
        node.remove("x/a.txt")
        await wait_until(lambda: metas_under(world, "y") == [("b.txt", False)])
        assert metas_under(world, "x") == [("a.txt", True)]
        await node.wait_state("y/b.txt", PUBLISHED)


async def test_a_moved_file_leaves_its_old_tags(tmp_path: Path) -> None:
    world = two_nodes()
    async with open_library(tmp_path, join(world, 1), 1) as node:
        node.write("old/a.txt", b"a")
        await node.wait_state("old/a.txt", PUBLISHED)
        node.rename("old/a.txt", "new/a.txt")
        await wait_until(lambda: metas_under(world, "new") == [("a.txt", False)])
        assert metas_under(world, "old") == [("a.txt", True)]
        await node.wait_state("new/a.txt", PUBLISHED)


async def test_a_touched_file_stays_published(tmp_path: Path) -> None:
    world = two_nodes()
    async with open_library(tmp_path, join(world, 1), 1) as node:
        node.write("a.txt", b"a")
        await node.wait_state("a.txt", PUBLISHED)
        before = await node.wait_share("a.txt")
        node.write("a.txt", b"a")
        await wait_until(lambda: (row := node.share("a.txt")) is not None and row != before)
        await node.wait_state("a.txt", PUBLISHED)
        assert (await node.wait_share("a.txt")).seq == before.seq


def ahead(hours: float) -> Callable[[], float]:
    return lambda: time.time() + hours * 3600


async def test_after_a_restart_only_what_is_due_is_announced_again(tmp_path: Path) -> None:
    world = two_nodes()
    overlay = join(world, 1)
    async with open_library(tmp_path, overlay, 1) as node:
        node.write("a.txt", b"a")
        await node.wait_state("a.txt", PUBLISHED)
        seq = (await node.wait_share("a.txt")).seq
    async with open_library(tmp_path, overlay, 1, ahead(7)) as node:
        assert node.state("a.txt") == (PUBLISHED, "")
        node.write("b.txt", b"b")
        await node.wait_state("b.txt", PUBLISHED)
        assert (await node.wait_share("a.txt")).seq == seq
    async with open_library(tmp_path, overlay, 1, ahead(11.1)) as node:
        await wait_until(lambda: (row := node.share("a.txt")) is not None and row.seq > seq)


async def test_a_record_that_expired_is_no_longer_called_published(tmp_path: Path) -> None:
    world = two_nodes()
    overlay = join(world, 1)
    async with open_library(tmp_path, overlay, 1) as node:
        node.write("a.txt", b"a")
        await node.wait_state("a.txt", PUBLISHED)
    world.nodes = [overlay]
    async with open_library(tmp_path, overlay, 1, ahead(25)) as node:
        await node.wait_state("a.txt", ShareState.ANNOUNCING, "no peers yet")


async def test_after_a_long_sleep_what_has_expired_is_announced_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_LOOK_EVERY_SECONDS", 0.01)
    slept_hours = 0.0
    world = two_nodes()
    clock = lambda: time.time() + slept_hours * 3600  # noqa: E731 one line, and a variable in it
    async with open_library(tmp_path, join(world, 1), 1, clock) as node:
        node.write("a.txt", b"a")
        await node.wait_state("a.txt", PUBLISHED)
        seq = (await node.wait_share("a.txt")).seq
        slept_hours = 25.0
        await wait_until(lambda: (row := node.share("a.txt")) is not None and row.seq > seq)


async def test_a_clock_that_was_years_ahead_is_forgotten(tmp_path: Path) -> None:
    """What was said then nobody takes in: neither it nor anything numbered after it."""
    alone = OverlayWorld()
    async with open_library(tmp_path, join(alone, 1), 1, ahead(50_000)) as node:
        node.write("x/a.txt", b"a")
        await node.wait_state("x/a.txt", ShareState.ANNOUNCING, "no peers yet")
    world = two_nodes()
    async with open_library(tmp_path, join(world, 1), 1) as node:
        await node.wait_state("x/a.txt", PUBLISHED)
        (meta,) = world.metas["x"].values()
        assert meta.seq < (time.time() + 60) * 1000
