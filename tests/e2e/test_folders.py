"""A folder copied into share/: its content id is the reference importer's, and others open it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode, start_chain
from tools.testbed import wait_until

pytestmark = pytest.mark.kernel

REFERENCE = Path(__file__).parent.parent / "reference"
STATE = "user.p2pfs.state"
FILES = 100
FILE_BYTES = 300 * 1024


@pytest.fixture(scope="module")
def importer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script of the reference importer beside its packages, of pinned versions."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js here")
    place = tmp_path_factory.mktemp("reference")
    for name in ("package.json", "package-lock.json", "import.mjs"):
        shutil.copy(REFERENCE / name, place)
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        done = subprocess.run(
            words, cwd=place, capture_output=True, text=True, check=False, timeout=60
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not get the reference importer within a minute")
    if done.returncode:
        pytest.skip(f"npm cannot get the reference importer: {done.stderr[-300:]}")
    return place / "import.mjs"


def published(folder: Path) -> str:
    wait_until(
        lambda: os.getxattr(folder, "user.p2pfs.state") == b"published", 60, f"{folder} published"
    )
    return os.getxattr(folder, "user.p2pfs.cid").decode()


def album(place: Path) -> Path:
    """A folder of what a user has in one, and of what is not published."""
    for index in range(FILES):
        path = place / "album" / f"disc {index % 3}" / f"{index:03} träck.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%3d" % index * (FILE_BYTES // 3))
    (place / "album" / "large.bin").write_bytes(b"large" * 10_000_000)  # two levels of nodes
    (place / "album" / "empty").mkdir()
    (place / "album" / "empty.txt").touch()
    (place / "album" / ".hidden").write_bytes(b"nobody's")
    (place / "album" / "link").symlink_to("empty.txt")
    return place / "album"


def test_a_folder_has_the_reference_importers_cids_and_is_listed_elsewhere(
    make_node: MakeNode, importer: Path, tmp_path: Path
) -> None:
    publisher, reader = start_chain(make_node, 2)
    source = album(tmp_path)
    subprocess.run(["cp", "-a", source, publisher.share], check=True)
    cid = published(publisher.share / "album")

    told = subprocess.run(
        ["node", importer, source], capture_output=True, text=True, check=True, timeout=60
    )
    lines = [line.split(" ", 1) for line in told.stdout.splitlines()]
    expected = {path.removeprefix("root").strip("/"): one for one, path in lines}
    assert len(expected) == FILES + 6  # it does not print empty folders; they are in the root
    for path, one in expected.items():
        assert os.getxattr(publisher.share / "album" / path, "user.p2pfs.cid").decode() == one
    assert expected[""] == cid

    found = reader.mount / "by-hash" / cid
    assert sorted(os.listdir(found)) == [
        "disc 0",
        "disc 1",
        "disc 2",
        "empty",
        "empty.txt",
        "large.bin",
    ]
    sizes = {entry.stat().st_size for entry in os.scandir(found / "disc 1")}
    assert sizes == {FILE_BYTES}
    assert sum(reader.status()["fetched_bytes"].values()) < 100_000
    shutil.copytree(found, tmp_path / "copy")
    for path in expected:
        ours, theirs = tmp_path / "copy" / path, source / path
        assert ours.is_dir() if theirs.is_dir() else ours.read_bytes() == theirs.read_bytes()

    (publisher.share / "album" / "empty.txt").unlink()
    wait_until(
        lambda: published(publisher.share / "album") != cid, 20, "another content id without it"
    )


def test_folders_are_told_with_their_state_and_what_is_left_out_of_them(
    make_node: MakeNode,
) -> None:
    node, _ = start_chain(make_node, 2)
    odd = os.fsencode(node.share / "album") + b"/n\xf6n"
    (node.share / "album" / "disc").mkdir(parents=True)
    for path in (odd, os.fsencode(node.share / "album" / "disc" / "one")):
        with open(path, "wb") as file:
            file.write(b"music" + path)
    published(node.share / "album" / "disc")
    wait_until(lambda: b"without 1" in os.getxattr(node.share / "album", STATE), 20, "the remark")
    wait_until(lambda: os.getxattr(odd, STATE).startswith(b"published: "), 20, "its file published")
    assert b"left out of its folder" in os.getxattr(odd, STATE)
    status = node.status()
    told = {folder["path"]: folder for folder in status["folders"]}
    assert told.keys() == {"album", "album/disc"}
    cid = os.getxattr(node.share / "album", "user.p2pfs.cid").decode()
    assert told["album"]["cid"] == cid
    assert told["album/disc"]["state"] == "published"
    assert status["noticing"] == ""
    assert abs(status["clock_behind"]) < 5
