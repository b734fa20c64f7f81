"""`p2pfs publish` on real nodes: what others get of a folder outside share/, and what not."""

from __future__ import annotations

import json
import os
import subprocess
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode, start_chain
from tools import samples
from tools.testbed import Node, wait_until

pytestmark = pytest.mark.kernel

WITHDRAWN_WITHIN_SECONDS = 60
# A name that is in no other path, and the user's name in a real one.
PRIVATE = "eve-at-home"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / PRIVATE / "Pictures"
    folder.mkdir(parents=True)
    return folder


def published(node: Node, *words: str) -> dict[str, str]:
    """The states of all that is published outside share/, by path."""
    done = node.run("publish", *words, "--json")
    assert done.returncode == 0, done.stderr
    return {path["path"]: path["state"] for path in json.loads(done.stdout)["paths"]}


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def contents(folder: Path) -> set[bytes]:
    """Of all that is listed; what was withdrawn since cannot be read."""
    found = set()
    for name in names(folder):
        with suppress(OSError):
            found.add((folder / name).read_bytes())
    return found


def holds_bytes(folder: Path, text: bytes) -> list[Path]:
    """The files below a node's home that hold these bytes, its mount left out."""
    found = []
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "mnt"]
        paths = [Path(above, name) for name in files]
        found += [path for path in paths if path.is_file() and text in path.read_bytes()]
    return found


def test_a_folder_is_published_where_it_lies_and_taken_back(
    make_node: MakeNode, outside: Path
) -> None:
    a, b = start_chain(make_node, 2)
    song = samples.mp3(artist="Blue Four", title="In Place", album="Here", frames=500)
    tree = {"trip/song.mp3": song, "trip/day 1/note.txt": b"sand", "trip/.secret": b"nobody's"}
    for path, content in tree.items():
        (outside / path).parent.mkdir(parents=True, exist_ok=True)
        (outside / path).write_bytes(content)
    place = str(outside / "trip")

    done = a.run("publish", place, "--tag", "Summer Days", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["paths"]
    assert (told["state"], told["files"], told["published"]) == ("published", 2, 2)
    paths = {share["path"] for share in a.status()["shares"]}
    assert paths == {f"{place}/song.mp3", f"{place}/day 1/note.txt"}

    by_tag = b.mount / "by-tag"
    wait_until(lambda: names(by_tag / "trip") == {"song.mp3", "note.txt"}, 5, "both by tag")
    found = by_tag / "summer-days" / "song.mp3"
    assert found.read_bytes() == song
    assert int(os.getxattr(found, "user.p2pfs.crc32"), 16) == zlib.crc32(song)
    tags = set(os.getxattr(by_tag / "day-1" / "note.txt", "user.p2pfs.tags").decode().split(","))
    assert tags == {"trip", "day-1", "summer-days", "text", "txt"}
    folder = b.mount / "by-hash" / told["cid"]
    assert (folder / "day 1" / "note.txt").read_bytes() == b"sand"
    assert names(folder) == {"song.mp3", "day 1"}

    (outside / "trip" / "day 1" / "note.txt").write_bytes(b"sand and sea")
    wait_until(lambda: published(a) == {place: "published"}, 20, "the edition published")
    wait_until(lambda: contents(by_tag / "day-1") == {b"sand and sea"}, 20, "the edition only")

    cid = str(os.getxattr(found, "user.p2pfs.cid"), "ascii")
    assert a.run("unpublish", place).stdout == f"{place}\n"
    assert a.status()["shares"] == []
    assert published(a) == {}
    wait_until(lambda: not names(by_tag / "trip"), WITHDRAWN_WITHIN_SECONDS, "withdrawn")
    assert b.run("gc").returncode == 0  # who has fetched it may give it on
    c = make_node("C").start(a)
    for content in (told["cid"], cid):
        refused = c.run("get", content, "-o", str(outside / "again"))
        assert refused.returncode == 4, refused.stderr
    assert (outside / "trip" / "song.mp3").read_bytes() == song

    for text in (PRIVATE.encode(), b"nobody's", os.fsencode(outside)):
        assert holds_bytes(b.home, text) == []
    seen = b.run("search", "song", "--json").stdout + b.run("info", cid, "--json").stdout
    assert PRIVATE not in seen
    assert names(by_tag) & {PRIVATE, "pictures", "Pictures", *outside.parts} == set()


def test_a_kill_loses_nothing_of_what_was_published_and_a_loss_shows(
    make_node: MakeNode, outside: Path
) -> None:
    a, b = start_chain(make_node, 2)
    (outside / "letter.txt").write_bytes(b"dear all")
    (outside / "link.txt").symlink_to("letter.txt")
    path = str(outside / "letter.txt")
    done = a.run("publish", str(outside / "link.txt"), "--wait")
    assert done.returncode == 0, done.stderr
    assert f"leads to {path}" in done.stderr
    a.kill()
    a.start(b)
    wait_until(lambda: published(a) == {path: "published"}, 20, "published after the kill")
    assert (b.mount / "by-tag" / "text" / "letter.txt").read_bytes() == b"dear all"
    (outside / "letter.txt").unlink()
    lost = [{"path": path, "cid": None, "state": "failed: it is not there", "size": 0}]
    wait_until(lambda: a.status()["shares"] == lost, 20, "the loss to show")
    (outside / "letter.txt").write_bytes(b"dear all, again")
    wait_until(lambda: published(a) == {path: "published"}, 20, "published again")
    (cid,) = [share["cid"] for share in a.status()["shares"]]
    assert a.run("unpublish", cid).stdout == f"{path}\n"
    assert a.run("unpublish", cid).returncode == 3


def test_what_must_not_get_out_is_refused_with_a_reason(make_node: MakeNode, outside: Path) -> None:
    a, b = start_chain(make_node, 2)
    (outside / ".hidden").write_bytes(b"secret")
    (outside / "half.part").write_bytes(b"half")
    os.mkfifo(outside / "pipe")
    (outside / "key").symlink_to(a.home / "data" / "identity.key")
    refused = {
        "/": 9,
        str(Path.home()): 9,
        str(a.home): 9,
        str(a.home.parent): 9,
        str(a.home / "data" / "identity.key"): 9,
        str(outside / "key"): 9,
        str(a.mount / "by-tag"): 9,
        str(b.mount): 9,
        str(outside / ".hidden"): 9,
        str(outside / "half.part"): 9,
        str(outside / "pipe"): 9,
        str(outside / "nothing"): 3,
        str(a.share / "nothing"): 3,
    }
    for path, code in refused.items():
        done = a.run("publish", path)
        assert (done.returncode, done.stdout) == (code, ""), f"{path}: {done.stderr}"
        assert done.stderr.startswith("p2pfs: "), path
    assert published(a) == {}
    assert a.run("publish", "--tag", "x").returncode == 2


def test_what_lies_in_share_is_published_already(make_node: MakeNode) -> None:
    a, b = start_chain(make_node, 2)
    (a.share / "note.txt").write_bytes(b"note")
    a.wait_published("note.txt")
    path = str(a.share / "note.txt")
    done = json.loads(a.run("publish", path, "--tag", "sea", "--wait", "--json").stdout)
    assert [(one["path"], one["state"]) for one in done["paths"]] == [("note.txt", "published")]
    wait_until(lambda: names(b.mount / "by-tag" / "sea") == {"note.txt"}, 10, "the tag")
    refused = a.run("unpublish", path)
    assert (refused.returncode, "move it out of share/" in refused.stderr) == (9, True)
    (cid,) = [share["cid"] for share in a.status()["shares"]]
    assert a.run("unpublish", cid).returncode == 9
    assert published(a) == {}


def test_waiting_alone_can_be_given_up(make_node: MakeNode, outside: Path) -> None:
    a = make_node("A").start()
    (outside / "note.txt").write_bytes(b"note")
    waiting = subprocess.Popen(
        [*a.command, "publish", str(outside / "note.txt"), "--wait"],
        env=a._environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    path = str(outside / "note.txt")
    wait_until(lambda: published(a) == {path: "announcing: no peers yet"}, 20, "it to be announced")
    waiting.send_signal(2)
    _, said = waiting.communicate(timeout=20)
    assert (waiting.returncode, "goes on being published" in said) == (130, True), said
    b = make_node("B").start(a)
    wait_until(lambda: published(a) == {path: "published"}, 30, "published in the background")
    assert b.mount.is_mount()


def test_a_folder_into_which_p2pfs_is_mounted_is_taken_back_for_as_long(
    make_node: MakeNode, outside: Path
) -> None:
    a = make_node("A").start()
    (outside / "note.txt").write_bytes(b"note")
    assert a.run("publish", str(outside)).returncode == 0
    inside = make_node(str((outside / "node").relative_to(a.home.parent))).start(a)
    assert inside.mount.is_relative_to(outside)
    lost = "failed: it holds a p2pfs mount; name the folders beside it"
    wait_until(lambda: published(a) == {str(outside): lost}, 30, "it to be taken back")
    assert [share["path"] for share in a.status()["shares"]] == [str(outside)]
    refused = a.run("publish", str(outside))
    assert (refused.returncode, "p2pfs mount" in refused.stderr) == (9, True)
    inside.stop()
    wait_until(lambda: published(a) != {str(outside): lost}, 30, "it to be back")
