"""From `cp` on one machine to `cat` on another, and back out again."""

from __future__ import annotations

import errno
import json
import os
import time
import zlib
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode, start_chain
from tools import samples
from tools.testbed import Node, wait_until

pytestmark = pytest.mark.kernel

LISTED_WITHIN_SECONDS = 5
WITHDRAWN_WITHIN_SECONDS = 60


def attribute(path: Path, name: str) -> str:
    return os.getxattr(path, f"user.p2pfs.{name}").decode()


def wait_listed(folder: Path, name: str, seconds: float = LISTED_WITHIN_SECONDS) -> Path:
    wait_until(lambda: name in os.listdir(folder), seconds, f"{name} in {folder}")
    return folder / name


def wait_gone(folder: Path, name: str) -> None:
    wait_until(
        lambda: name not in os.listdir(folder),
        WITHDRAWN_WITHIN_SECONDS,
        f"{name} gone from {folder}",
    )


@pytest.fixture(scope="module")
def song(chain: list[Node]) -> tuple[bytes, str]:
    """A song that A published: its bytes and its content id."""
    content = samples.mp3(
        artist="Pearl Jämmer", title="Blue in Ten", album="Kind of Late", frames=2000
    )
    folder = chain[0].share / "blue-notes"
    folder.mkdir()
    (folder / "song.mp3").write_bytes(content)
    return content, chain[0].wait_published("blue-notes/song.mp3")


def test_a_song_is_found_by_its_folder_and_read_three_nodes_away(
    chain: list[Node], song: tuple[bytes, str]
) -> None:
    content, cid = song
    found = wait_listed(chain[3].mount / "by-tag" / "blue-notes", "song.mp3")
    assert found.read_bytes() == content
    assert found.stat().st_size == len(content)
    assert attribute(found, "cid") == cid
    assert attribute(found, "crc32") == f"{zlib.crc32(content):08x}"
    assert attribute(found, "mime") == "audio/mpeg"
    assert attribute(found, "publisher") == chain[0].status()["peer_id"]
    assert attribute(found, "cached") == "100"
    assert attribute(found, "last_error") == ""
    tags = attribute(found, "tags").split(",")
    assert {"blue-notes", "music", "audio", "artist:pearl-jämmer"} <= set(tags)


@pytest.mark.parametrize(
    "spelling", ["artist:pearl-jämmer", "artist|Pearl Jämmer", "artist:Pearl Jämmer"]
)
def test_every_spelling_of_an_artist_leads_to_the_song(
    chain: list[Node], song: tuple[bytes, str], spelling: str
) -> None:
    assert wait_listed(chain[3].mount / "by-tag" / spelling, "song.mp3").read_bytes() == song[0]


def test_words_of_its_name_and_title_lead_to_the_song(
    chain: list[Node], song: tuple[bytes, str]
) -> None:
    for words in ("blue ten", "Ten,song"):
        found = wait_listed(chain[3].mount / "search" / words, "song.mp3")
        assert found.read_bytes() == song[0]
    assert os.listdir(chain[3].mount / "search" / "blue nobody") == []
    assert "blue+ten" in os.listdir(chain[3].mount / "search")
    both = wait_listed(chain[3].mount / "by-tag" / "blue-notes+music", "song.mp3")
    assert both.read_bytes() == song[0]
    asked = chain[3].run("search", "blue", "ten", "--tag", "artist|Pearl Jämmer", "--json")
    assert [file["cid"] for file in json.loads(asked.stdout)["files"]] == [song[1]]
    nothing = chain[3].run("search", "nobody", "published", "this")
    assert (nothing.returncode, nothing.stdout) == (3, "")


def test_a_content_id_opens_the_same_file(chain: list[Node], song: tuple[bytes, str]) -> None:
    content, cid = song
    assert (chain[2].mount / "by-hash" / cid).read_bytes() == content
    assert cid in os.listdir(chain[2].mount / "by-hash")


def test_a_tree_of_documents_and_pictures_arrives_whole(chain: list[Node]) -> None:
    tree = {
        "trip/notes.txt": "Nübel, 14°\n".encode() * 400,
        "trip/empty.txt": b"",
        "trip/maps/route.png": samples.png(),
        "trip/maps/report.pdf": b"%PDF-1.4\n" + bytes(range(256)) * 3000,
    }
    for path, content in tree.items():
        (chain[1].share / path).parent.mkdir(parents=True, exist_ok=True)
        (chain[1].share / path).write_bytes(content)
    for path, content in tree.items():
        chain[1].wait_published(path)
        name = path.rpartition("/")[2]
        assert wait_listed(chain[3].mount / "by-tag" / "trip", name).read_bytes() == content
    assert sorted(os.listdir(chain[3].mount / "by-tag" / "maps")) == ["report.pdf", "route.png"]
    assert attribute(chain[3].mount / "by-tag/image/route.png", "mime") == "image/png"


def test_everything_but_share_is_read_only_even_for_root(
    chain: list[Node], song: tuple[bytes, str]
) -> None:
    mount = chain[0].mount
    found = wait_listed(mount / "by-tag" / "blue-notes", "song.mp3")
    for attempt in (
        lambda: found.open("r+b"),
        lambda: found.unlink(),
        lambda: (mount / "by-hash" / "new").mkdir(),
        lambda: (mount / "x").write_bytes(b""),
        lambda: os.truncate(found, 0),
    ):
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno == errno.EROFS


def test_a_content_id_that_nobody_has_fails_cleanly(chain: list[Node]) -> None:
    nobody = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"[:-3] + "kya"
    started = time.monotonic()
    with pytest.raises(OSError) as caught:
        (chain[3].mount / "by-hash" / nobody).read_bytes()
    assert caught.value.errno in {errno.ENODATA, errno.ETIMEDOUT, errno.ENOENT}
    assert time.monotonic() - started < 8


def test_what_is_removed_or_overwritten_is_no_longer_listed_nor_served(make_node: MakeNode) -> None:
    publisher, _, reader = start_chain(make_node, 3)
    folder = publisher.share / "drafts"
    folder.mkdir()
    old, new = samples.mp3(artist="a", title="old", album="x"), b"the second edition " * 9000
    (folder / "kept.txt").write_bytes(b"kept")
    (folder / "book.txt").write_bytes(old)
    (folder / "gone.txt").write_bytes(b"soon gone " * 70_000)
    old_cid = publisher.wait_published("drafts/book.txt")
    gone_cid = publisher.wait_published("drafts/gone.txt")
    listing = reader.mount / "by-tag" / "drafts"
    wait_listed(listing, "gone.txt")
    wait_listed(listing, "book.txt")

    (folder / "gone.txt").unlink()
    with pytest.raises(OSError):
        (reader.mount / "by-hash" / gone_cid).read_bytes()
    wait_gone(listing, "gone.txt")

    (folder / "book.txt").write_bytes(new)
    new_cid = publisher.wait_published("drafts/book.txt")
    assert new_cid != old_cid
    with pytest.raises(OSError):
        (reader.mount / "by-hash" / old_cid).read_bytes()
    wait_until(
        lambda: (
            [attribute(listing / name, "cid") for name in os.listdir(listing) if "book" in name]
            == [new_cid]
        ),
        WITHDRAWN_WITHIN_SECONDS,
        "only the second edition listed",
    )
    book = next(name for name in os.listdir(listing) if "book" in name)
    assert (listing / book).read_bytes() == new
    assert "kept.txt" in os.listdir(listing)


def test_what_was_never_published_is_never_served(make_node: MakeNode, tmp_path: Path) -> None:
    publisher, reader = start_chain(make_node, 2)
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"not for you " * 40_000)
    beside = publisher.home / "data" / "beside.txt"
    beside.write_bytes(secret.read_bytes())
    (publisher.share / "link.txt").symlink_to(secret)
    (publisher.share / "up").symlink_to("..")
    (publisher.share / ".hidden").write_bytes(secret.read_bytes())
    (publisher.share / "seen.txt").write_bytes(b"seen")
    publisher.wait_published("seen.txt")
    cid = publisher.run("cid", str(secret)).stdout.split()[0]
    with pytest.raises(OSError):
        (reader.mount / "by-hash" / cid).read_bytes()
    published = {share["path"] for share in publisher.status()["shares"] if share["cid"]}
    assert published == {"seen.txt"}
