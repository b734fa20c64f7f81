"""What is pinned stays pinned, over restarts, until each wish for it is taken back."""

from __future__ import annotations

from pathlib import Path

from p2pfs.content.cid import parse_cid
from p2pfs.store.catalog import open_catalog
from p2pfs.store.pins import Pins
from tests.store.kit import content_of, fetch, open_store, publish, small_dag

FOLDER, OTHER, FIRST, SECOND = (small_dag(content_of(100, seed)).root for seed in range(4))


async def test_a_pin_survives_a_restart(tmp_path: Path) -> None:
    async with open_catalog(tmp_path / "catalog") as catalog:
        await Pins(catalog).add(FIRST, [(FIRST, 100)])
    async with open_catalog(tmp_path / "catalog") as catalog:
        pins = Pins(catalog)
        assert pins.is_pinned(FIRST)
        assert not pins.is_pinned(SECOND)
        (pin,) = pins.all()
        assert (pin.cid, pin.contents, pin.size) == (FIRST, (FIRST,), 100)


async def test_a_pinned_directory_keeps_what_is_below_it(tmp_path: Path) -> None:
    async with open_catalog(tmp_path / "catalog") as catalog:
        pins = Pins(catalog)
        await pins.add(FOLDER, [(FIRST, 100), (SECOND, 50)])
        assert all(map(pins.is_pinned, (FOLDER, FIRST, SECOND)))
        (pin,) = pins.all()
        assert (set(pin.contents), pin.size) == ({FOLDER, FIRST, SECOND}, 150)


async def test_what_is_not_all_here_is_unfinished(tmp_path: Path) -> None:
    content, shared = content_of(1_000, 5), content_of(1_000, 6)
    dag = small_dag(content)
    async with open_store(tmp_path) as store:
        pins = Pins(store.catalog)
        twin = await publish(store, "own", shared)
        inline = parse_cid("bafkqabtimvwgy3yk")
        await pins.add(FOLDER, [(dag.root, 1_000), (OTHER, 0)])
        await pins.add(twin.root, [(twin.root, 1_000)])
        await pins.add(inline, [(inline, 6)])
        assert await pins.unfinished() == [FOLDER]
        await fetch(store, dag, content, 0, 500)
        await store.objects.save()
        assert await pins.unfinished() == [FOLDER]
        await fetch(store, dag, content, 500)
        await store.objects.save()
        assert await pins.unfinished() == []


async def test_what_is_kept_for_two_pins_is_kept_until_both_are_gone(tmp_path: Path) -> None:
    async with open_catalog(tmp_path / "catalog") as catalog:
        pins = Pins(catalog)
        await pins.add(FOLDER, [(FIRST, 100)])
        await pins.add(OTHER, [(FIRST, 100)])
        assert await pins.remove(FOLDER)
        assert pins.is_pinned(FIRST)
        assert not pins.is_pinned(FOLDER)
        assert await pins.remove(OTHER)
        assert not pins.is_pinned(FIRST)
        assert not await pins.remove(OTHER)
