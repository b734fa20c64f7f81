from pathlib import Path

import pytest
import trio

from p2pfs.errors import MalformedError
from p2pfs.library import metas, searching
from p2pfs.library.names import short_cid
from p2pfs.store.share import ShareState
from tests.dht.fakes import OverlayWorld
from tests.library.id3 import mp3
from tests.library.kit import identity, join, open_library

PUBLISHED = ShareState.PUBLISHED


async def test_what_one_publishes_another_lists(tmp_path: Path) -> None:
    world = OverlayWorld()
    song = mp3(title="Blue Night", artist="Pearl Jam")
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
    ):
        assert await bob.listed("blue-notes") == []
        alice.write("blue-notes/song.mp3", song)
        await alice.wait_state("blue-notes/song.mp3", PUBLISHED)
        for tag in ("blue-notes", "artist:pearl-jam", "word:night", "music+blue-notes"):
            assert await bob.listed(tag) == ["song.mp3"]
        assert await bob.listed("video") == []
        assert await bob.listed("music+video") == []
        file = bob.searches.listing("music").entries["song.mp3"]
        assert (file.size, file.mime) == (len(song), "audio/mpeg")
        assert file.publishers == (identity(1).public_key,)
        assert [provider.public_key for provider in file.providers] == [identity(1).public_key]
        assert "blue-notes" in bob.searches.known_tags()
        assert not any(tag.startswith("word:") for tag in bob.searches.known_tags())


async def test_what_is_removed_is_listed_no_longer(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
    ):
        alice.write("x/a.txt", b"a")
        alice.write("x/b.txt", b"b")
        await bob.wait_listed("x", "a.txt", "b.txt")
        alice.remove("x/a.txt")
        await bob.wait_listed("x", "b.txt")
        assert await alice.listed("x") == ["b.txt"]


async def test_what_is_overwritten_is_listed_by_its_plain_name(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
    ):
        alice.write("x/a.txt", b"the old")
        await bob.wait_listed("x", "a.txt")
        old = bob.searches.listing("x").entries["a.txt"].cid
        alice.write("x/a.txt", b"the new one")
        new = (await alice.wait_share("x/a.txt", b"the new one")).cid
        with trio.fail_after(10):
            while bob.searches.listing("x").entries["a.txt"].cid == old:
                await bob.searches.refresh("x")
                await trio.sleep(0.05)
        for node in (alice, bob):
            assert {n: f.cid for n, f in node.searches.listing("x").entries.items()} == {
                "a.txt": new
            }


async def test_a_moved_file_is_listed_where_it_is(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
    ):
        alice.write("x/a.txt", b"a")
        await bob.wait_listed("x", "a.txt")
        alice.rename("x/a.txt", "y/b.txt")
        await bob.wait_listed("y", "b.txt")
        await bob.wait_listed("x")


async def test_distinct_contents_of_one_name_are_both_listed(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
        open_library(tmp_path / "c", join(world, 3), 3) as carol,
    ):
        alice.write("x/a.txt", b"one")
        await carol.wait_listed("x", "a.txt")
        first = carol.searches.listing("x").entries["a.txt"].cid
        bob.write("x/a.txt", b"two")
        second = (await bob.wait_share("x/a.txt")).cid
        assert second is not None
        await carol.wait_listed("x", "a.txt", f"a~{short_cid(second)}.txt")
        listing = carol.searches.listing("x")
        assert listing.entries["a.txt"].cid == first
        found = listing.find(f"a~{short_cid(first)}.txt")
        assert found is not None
        assert found.cid == first
    async with open_library(tmp_path / "c", join(world, 3), 3) as carol:
        assert carol.searches.listing("x").entries["a.txt"].cid == first


async def test_many_publishers_of_one_content_are_one_entry(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
        open_library(tmp_path / "c", join(world, 3), 3) as carol,
    ):
        alice.write("x/a.txt", b"same")
        bob.write("x/a.txt", b"same")
        await alice.wait_state("x/a.txt", PUBLISHED)
        await bob.wait_state("x/a.txt", PUBLISHED)
        assert await carol.listed("x") == ["a.txt"]
        assert len(carol.searches.listing("x").entries["a.txt"].providers) == 2
        alice_sees = (await alice.listed("x"), alice.searches.listing("x").entries["a.txt"])
        assert alice_sees[0] == ["a.txt"]
        assert [provider.public_key for provider in alice_sees[1].providers] == [
            identity(1).public_key,
            identity(2).public_key,
        ]


async def test_own_files_are_listed_at_once_and_without_a_network(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with open_library(tmp_path, join(world, 1), 1) as node:
        node.write("x/a.txt", b"a")
        await node.wait_share("x/a.txt")
        await node.wait_listed("x", "a.txt")
        assert "x" in node.searches.known_tags()
    async with open_library(tmp_path, join(OverlayWorld(), 1), 1) as node:
        assert list(node.searches.listing("x").entries) == ["a.txt"]


async def test_listings_come_from_the_catalogue_after_a_restart_offline(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with (
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
    ):
        alice.write("x/a.txt", b"a")
        await bob.wait_listed("x", "a.txt")
    offline = OverlayWorld()
    offline.latency = 60
    async with open_library(tmp_path / "b", join(offline, 2), 2) as bob:
        started = trio.current_time()
        assert await bob.listed("x") == ["a.txt"]
        assert trio.current_time() - started < 1
        assert "x" in bob.searches.known_tags()


async def test_a_fresh_listing_is_not_looked_up_again(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
    ):
        alice.write("x/a.txt", b"a")
        await bob.wait_listed("x", "a.txt")
        world.latency = 60
        with trio.fail_after(1):
            assert await bob.listed("x") == ["a.txt"]


async def test_a_search_goes_on_behind_its_callers_deadline(tmp_path: Path) -> None:
    world = OverlayWorld()
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
    ):
        alice.write("x/a.txt", b"a")
        await alice.wait_state("x/a.txt", PUBLISHED)
        world.latency = 0.3
        with trio.move_on_after(0.05) as deadline:
            await bob.searches.refresh("x")
        assert deadline.cancelled_caught
        await trio.sleep(0.4)
        assert list(bob.searches.listing("x").entries) == ["a.txt"]


async def test_tags_that_nobody_uses_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metas, "_MAX_TAGS_IN_MEMORY", 10)
    monkeypatch.setattr(searching, "_MAX_LOOKED_UP", 10)
    async with open_library(tmp_path, join(OverlayWorld(), 1), 1) as node:
        for number in range(50):
            assert await node.listed(f"nothing-{number}") == []
        searches = node.searches
        assert len(searches._built) <= 10
        assert len(searches._metas._tags) <= 10


async def test_tags_looked_up_lately_are_known_though_nothing_was_found(tmp_path: Path) -> None:
    async with open_library(tmp_path, join(OverlayWorld(), 1), 1) as node:
        node.searches.note_tag("jazz+2026")
        assert node.searches.known_tags() == ["2026", "jazz"]
        for number in range(200):
            node.searches.note_tag(f"other-{number}")
        assert len(node.searches.known_tags()) == 100


async def test_words_beyond_the_indexed_ones_still_narrow_a_search(tmp_path: Path) -> None:
    """Eight words are indexed: `ox` is not, and is looked for in what the others found."""
    world = OverlayWorld()
    nine = "alpha bravo charlie delta foxtrot golf hotel india"
    async with (
        open_library(tmp_path / "a", join(world, 1), 1) as alice,
        open_library(tmp_path / "b", join(world, 2), 2) as bob,
    ):
        alice.write(f"{nine} ox.txt", b"with")
        alice.write(f"{nine}.txt", b"without")
        for name in (f"{nine} ox.txt", f"{nine}.txt"):
            await alice.wait_state(name, PUBLISHED)
        for node in (alice, bob):
            assert await node.listed(searching.search_key("OX alpha")) == [f"{nine} ox.txt"]
            assert len(await node.listed(searching.search_key("alpha"))) == 2
            assert await node.listed(searching.search_key("alpha", ["video"])) == []


@pytest.mark.parametrize(
    ("words", "tags", "key"),
    [
        ("Ten, BLUE", [], "word:blue+word:ten"),
        ("night+artist|Pearl Jam", [], "word:night+artist:pearl-jam"),
        ("night", ["Jazz Music", "a+b"], "word:night+jazz-music+a+b"),
        ("", ["Artist: Pearl Jam"], "artist:pearl-jam"),
        ("night night", ["word:night"], "word:night"),
    ],
)
def test_a_search_has_one_key_however_it_is_spelt(words: str, tags: list[str], key: str) -> None:
    assert searching.search_key(words, tags) == key


@pytest.mark.parametrize("words", ["!", "a", "+"])
def test_a_search_without_a_word_is_refused(words: str) -> None:
    with pytest.raises(MalformedError):
        searching.search_key(words)
