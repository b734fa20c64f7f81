"""`p2pfs get`: from the network to a file of the user's, between two nodes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pfs.content.cid import DAG_PB, RAW, Cid
from p2pfs.content.dag_pb import Link, encode_node
from tools import testbed
from tools.testbed import Node, wait_until

pytestmark = pytest.mark.kernel

FAILED, USAGE, NOT_FOUND, NO_PEERS, NO_RUNNING_NODE = 1, 2, 3, 4, 8
NOBODY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvkya"
MIB = 1024 * 1024
SONG = random.Random(4).randbytes(3 * MIB + 17)
# Slow enough to be stopped in the middle, and fast enough to end soon.
LIMIT = "4M"
FILM = random.Random(5).randbytes(10 * MIB)
ALBUM = {"one.txt": b"1", "empty": b"", "two/three.txt": b"3" * 300_000} | {
    f"many/{number:02}": bytes([number]) * 20_000 for number in range(70)
}

SEASON = {f"{number}.mkv": random.Random(number).randbytes(2 * MIB) for number in range(6, 10)}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """A publisher without a mount, and a mounted reader."""
    with testbed.testbed(tmp_path_factory.mktemp("get")) as make:
        publisher = make("A", mounted=False).start()
        (publisher.share / "song.mp3").write_bytes(SONG)
        (publisher.share / "film.mkv").write_bytes(FILM)
        (publisher.share / "season").mkdir()
        for path, content in SEASON.items():
            (publisher.share / "season" / path).write_bytes(content)
        for path, content in ALBUM.items():
            (publisher.share / "album" / path).parent.mkdir(parents=True, exist_ok=True)
            (publisher.share / "album" / path).write_bytes(content)
        reader = make("B", environ={"P2PFS_LIMIT_DOWN": LIMIT}).start(publisher)
        reader.wait_contacts(1)
        yield publisher, reader


@pytest.fixture(scope="module")
def song(nodes: tuple[Node, Node]) -> str:
    return nodes[0].wait_published("song.mp3")


def get(node: Node, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = node.run("get", *map(str, words))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_file_is_saved_once_and_what_else_lies_there_is_kept(
    nodes: tuple[Node, Node], song: str, tmp_path: Path
) -> None:
    get(nodes[1], song, "-o", tmp_path)
    assert (tmp_path / song).read_bytes() == SONG
    fetched = nodes[1].status()["fetched_bytes"]
    get(nodes[1], f"ipfs://{song}", "-o", tmp_path)
    assert nodes[1].status()["fetched_bytes"] == fetched
    mine = tmp_path / "mine.mp3"
    mine.write_bytes(b"mine")
    refused = get(nodes[1], song, "-o", mine, code=FAILED)
    assert "--force" in refused.stderr
    assert mine.read_bytes() == b"mine"
    get(nodes[1], song, "-o", mine, "--force")
    assert mine.read_bytes() == SONG
    assert sorted(os.listdir(tmp_path)) == sorted([song, "mine.mp3"])


def test_a_path_in_the_mount_is_saved_under_its_name(
    nodes: tuple[Node, Node], song: str, tmp_path: Path
) -> None:
    folder = nodes[1].mount / "by-tag" / "mp3"
    wait_until(lambda: "song.mp3" in os.listdir(folder), 5, "the song")
    get(nodes[1], folder / "song.mp3", "-o", tmp_path)
    assert (tmp_path / "song.mp3").read_bytes() == SONG


def test_what_was_killed_half_way_is_resumed_and_what_rotted_is_mended(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    cid = nodes[0].wait_published("film.mkv")
    command = [*nodes[1].command, "get", cid, "-o", str(tmp_path / "film.mkv")]
    running = subprocess.Popen(command, env={**os.environ, "P2PFS_HOME": str(nodes[1].home)})

    def part() -> Path | None:
        return next((path for path in tmp_path.glob("*.part") if path.stat().st_size > MIB), None)

    half = wait_until(part, 20, "the first bytes")
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert os.listdir(tmp_path) == [half.name]
    with half.open("r+b") as file:  # what is there is not trusted
        file.seek(MIB)
        file.write(b"rot")
    get(nodes[1], cid, "-o", tmp_path / "film.mkv")
    assert os.listdir(tmp_path) == ["film.mkv"]
    assert (tmp_path / "film.mkv").read_bytes() == FILM


def test_a_file_goes_to_standard_output(nodes: tuple[Node, Node], song: str) -> None:
    for reader in nodes:
        done = subprocess.run(
            [*reader.command, "get", song, "-o", "-"],
            env={**os.environ, "P2PFS_HOME": str(reader.home)},
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout == SONG, done.stderr) == (0, True, b"")


def test_a_directory_arrives_whole_with_what_is_below_it(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    cid = nodes[0].run("cid", str(nodes[0].share / "album")).stdout.split()[0]
    offered = f"{cid}/two"
    wait_until(lambda: nodes[1].run("get", offered, "-o", str(tmp_path)).returncode == 0, 20, cid)
    assert (tmp_path / "two/three.txt").read_bytes() == ALBUM["two/three.txt"]
    get(nodes[1], cid, "-o", tmp_path / "album")
    known = json.loads(nodes[1].run("info", cid, "--json").stdout)
    assert (known["kind"], known["entries"], known["cached"]) == ("directory", 4, 100)
    assert known["size"] == sum(map(len, ALBUM.values()))
    assert known["providers"] == [nodes[0].status()["peer_id"]]
    for path, content in ALBUM.items():
        assert (tmp_path / "album" / path).read_bytes() == content


def test_a_directory_that_was_stopped_half_way_is_gone_on_with_by_the_same_command(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    cid = nodes[0].run("cid", str(nodes[0].share / "season")).stdout.split()[0]
    words = ("get", cid, "-o", str(tmp_path / "season"))
    wait_until(lambda: nodes[1].run("info", cid).returncode == 0, 20, "the season")
    running = nodes[1].begin(*words)
    wait_until(lambda: list(tmp_path.glob("season~*.part/6.mkv")), 20, "the first file")
    running.send_signal(signal.SIGINT)
    assert running.wait() == 128 + signal.SIGINT
    [begun] = os.listdir(tmp_path)
    assert (tmp_path / begun / "6.mkv").read_bytes() == SEASON["6.mkv"]
    get(nodes[1], *words[1:])
    assert os.listdir(tmp_path) == ["season"]
    assert sorted(os.listdir(tmp_path / "season")) == sorted(SEASON)
    for path, content in SEASON.items():
        assert (tmp_path / "season" / path).read_bytes() == content


def test_what_is_known_of_a_content_is_told(nodes: tuple[Node, Node], song: str) -> None:
    publisher, reader = nodes
    wait_until(lambda: reader.run("search", "song").returncode == 0, 10, "the song")
    known = json.loads(reader.run("info", song, "--json").stdout)
    them = [publisher.status()["peer_id"]]
    assert (known["kind"], known["size"], known["names"]) == ("file", len(SONG), ["song.mp3"])
    assert known["crc32"] == f"{zlib.crc32(SONG):08x}"
    assert (known["publishers"], known["providers"]) == (them, them)
    assert "mp3" in known["tags"]
    assert not known["pinned"]
    lines = publisher.run("info", song).stdout.splitlines()
    assert f"size\t{len(SONG)}" in lines
    assert "own\tsong.mp3: published" in lines
    assert [line for line in lines if line.startswith("publishers")] == [f"publishers\t{them[0]}"]
    assert reader.run("info", NOBODY).returncode == NO_PEERS


def test_the_peers_are_told_with_what_came_from_them(
    nodes: tuple[Node, Node], song: str, tmp_path: Path
) -> None:
    publisher, reader = nodes
    get(reader, song, "-o", tmp_path)
    told = json.loads(reader.run("peers", "--json").stdout)
    assert told["contacts"] == 1
    assert told["peers"][0]["fetched"] >= len(SONG)
    fields = reader.run("peers").stdout.split("\t")
    assert fields[:2] == [publisher.status()["peer_id"], publisher.address]


def inline(codec: int, block: bytes) -> Cid:
    """A content id that carries its block, so that nobody has to publish it."""
    return Cid(1, codec, bytes([0, len(block)]) + block)


def directory(**entries: Cid) -> Cid:
    links = [Link(cid, name.encode(), 1) for name, cid in sorted(entries.items())]
    return inline(DAG_PB, encode_node(links, b"\x08\x01"))


def link_to(target: bytes) -> Cid:
    return inline(DAG_PB, encode_node([], b"\x08\x04\x12" + bytes([len(target)]) + target))


def test_names_from_the_network_stay_in_the_folder_and_off_the_terminal(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    hostile = directory(**{"a\n\x1b[2J\u202eb": inline(RAW, b"x"), ".c": inline(RAW, b"y")})
    get(nodes[0], hostile, "-o", tmp_path / "tree")
    names = sorted(os.listdir(tmp_path / "tree"))
    assert names[0] == ".c"
    assert names[1].startswith("a__[2J_b~")
    refused = get(nodes[0], directory(**{"../x": inline(RAW, b"x")}), code=FAILED)
    assert "../x" in refused.stderr
    assert os.listdir(tmp_path) == ["tree"]


def test_links_from_the_network_lead_nowhere_else_and_none_is_followed(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    beside = directory(l=link_to(b"a"), a=inline(RAW, b"a"))
    get(nodes[0], beside, "-o", tmp_path / "beside")
    assert os.readlink(tmp_path / "beside/l") == "a"
    get(nodes[0], beside, "-o", tmp_path)
    get(nodes[0], beside, "-o", tmp_path)  # what is there already is as it should be
    for place, target in (("out1", b"/etc"), ("out2", b"../../x")):
        done = get(nodes[0], directory(l=link_to(target)), "-o", tmp_path / place, code=FAILED)
        assert target.decode() in done.stderr
        assert os.listdir(tmp_path / place) == []
    tree = directory(d=directory(f=inline(RAW, b"x")))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / str(tree)).mkdir()
    (tmp_path / str(tree) / "d").symlink_to(tmp_path / "elsewhere")
    done = get(nodes[0], tree, "-o", tmp_path, code=FAILED)
    assert "in the way" in done.stderr
    assert os.listdir(tmp_path / "elsewhere") == []


def test_every_failure_says_what_to_do_and_has_its_exit_code(
    nodes: tuple[Node, Node], song: str, tmp_path: Path
) -> None:
    assert "try again" in get(nodes[1], NOBODY, code=NO_PEERS).stderr
    assert "neither" in get(nodes[1], tmp_path / "absent", code=NOT_FOUND).stderr
    (tmp_path / "mine").write_bytes(b"")
    assert "mount" in get(nodes[1], tmp_path / "mine", code=USAGE).stderr
    get(nodes[1], song, "-o", tmp_path / "absent" / "song.mp3", code=NOT_FOUND)
    get(nodes[1], directory(a=inline(RAW, b"a")), "-o", "-", code=USAGE)
    get(nodes[1], f"{directory(a=inline(RAW, b'a'))}/b", code=NOT_FOUND)
    nowhere = Node(tmp_path / "home", mounted=False)
    assert "p2pfs mount" in get(nowhere, song, code=NO_RUNNING_NODE).stderr
