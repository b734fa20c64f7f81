"""What programs do to files of share/ works, and only their results get out.

What another node was ever told is read from the records that it keeps, all the time.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import tarfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from p2pfs.content.cid import raw_cid
from p2pfs.content.metainfo import parse_kept_meta
from p2pfs.dht.records import parse_provider_record
from p2pfs.dht.subjects import PROVIDER, parse_subject
from p2pfs.network import public_network
from tests.e2e.conftest import MakeNode, start_chain
from tools.testbed import NETWORK, Node, wait_until

pytestmark = pytest.mark.kernel

_LOOK_EVERY_SECONDS = 0.05
_RECORDS = "SELECT subject, bodies.body FROM records JOIN bodies ON bodies.id = records.body"


class Seen:
    """Everything another node was told since the block began, also what was taken back."""

    def __init__(self, store: Path) -> None:
        self.names: defaultdict[str, set[str]] = defaultdict(set)
        self.provided: set[bytes] = set()
        self._store = store
        self._known: set[tuple[bytes, bytes]] = set()

    def look(self) -> None:
        network = public_network(NETWORK)
        with closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as database:
            rows = set(database.execute(_RECORDS))
        for subject, body in rows - self._known:
            if parse_subject(subject).kind == PROVIDER:
                self.provided |= set(parse_provider_record(body, network).multihashes)
            else:
                meta = parse_kept_meta(body, network)
                self.names[meta.name].add(str(meta.cid))
        self._known |= rows


@contextmanager
def watched(node: Node) -> Iterator[Seen]:
    seen, over = Seen(node.home / "data" / "overlay.sqlite"), threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY_SECONDS):
            seen.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def run(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def file_cid(content: bytes) -> str:
    """Of a file of one chunk."""
    return str(raw_cid(hashlib.sha256(content).digest()))


def some_tree(place: Path, kind: str) -> Path:
    """Files in two folders, all different, and old as what is copied is."""
    for number in range(6):
        path = place / kind / f"part{number % 2}" / f"{kind}{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{kind} {number} ".encode() * 6000)
        os.utime(path, (1_500_000_000, 1_500_000_000 + number))
    return place / kind


@contextmanager
def rsync_under_way(source: Path, desk: Path) -> Iterator[None]:
    """Slow enough for each of its temporaries to be looked at."""
    words = ["rsync", "-a", "--bwlimit=100", f"{source}/", f"{desk / source.name}/"]
    with subprocess.Popen(words) as rsync:
        yield
        assert rsync.wait(60) == 0


@contextmanager
def vim_saving(path: Path, content: bytes) -> Iterator[None]:
    """What vim's `:w` does, but that the backup and the swap file stay during the block."""
    swap, backup = path.with_name(f".{path.name}.swp"), path.with_name(f"{path.name}~")
    swap.write_bytes(b"b0VIM 9.0" + path.read_bytes())
    (path.parent / "4913").write_bytes(b"")
    (path.parent / "4913").unlink()
    path.rename(backup)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    yield
    backup.unlink()
    swap.unlink()


@contextmanager
def sqlite_writing(path: Path, mode: str) -> Iterator[None]:
    """A database with a transaction that is open, and in its side file, during the block."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        assert database.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode,)
        database.execute("CREATE TABLE notes (text)")
        database.execute("PRAGMA cache_size = 2")  # so that pages go out before the commit
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO notes VALUES (?)",
            [(f"{path.name} {number}" * 50,) for number in range(99)],
        )
        assert (path.parent / f"{path.name}-{'wal' if mode == 'wal' else 'journal'}").stat().st_size
        yield
        database.execute("COMMIT")
        assert database.execute("SELECT count(*) FROM notes").fetchone() == (99,)


def work_with_git(project: Path) -> None:
    person = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    run("git", "init", "-q", project)
    (project / "main.c").write_bytes(b"int main(void) { return 0; }\n")
    for change in ("first", "second"):
        (project / "README").write_bytes(f"the {change} edition\n".encode())
        run("git", "-C", project, "add", ".")
        run("git", "-C", project, *person, "commit", "-q", "-m", change)
    run("git", "-C", project, "fsck", "--strict")
    run("git", "-C", project, "gc", "-q")


def unpack(archive: Path, desk: Path) -> None:
    run("tar", "-x", "-f", archive, "-C", desk)


def visible(desk: Path) -> dict[str, Path]:
    """The files that a user would say he has put there, by path below share/."""
    found = (path for path in desk.rglob("*") if path.is_file())
    return {str(path.relative_to(desk.parent)): path for path in found if "/." not in str(path)}


def test_programs_work_in_share_and_only_their_results_get_out(
    make_node: MakeNode, tmp_path: Path
) -> None:
    publisher, other = start_chain(make_node, 2)
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(some_tree(tmp_path, "archive"), "archive")
    mirrored = some_tree(tmp_path, "mirror")
    desk = publisher.share / "desk"
    desk.mkdir()
    (desk / "letter.txt").write_bytes(b"the first edition")
    publisher.wait_published("desk/letter.txt")
    with watched(other) as seen:
        with (
            rsync_under_way(mirrored, desk),
            vim_saving(desk / "letter.txt", b"the second edition"),
            sqlite_writing(desk / "notes.db", "delete"),
            sqlite_writing(desk / "log.db", "wal"),
        ):
            unpack(archive, desk)
            work_with_git(desk / "project")
            for path in ("project/main.c", "archive/part1/archive5.txt", "letter.txt"):
                publisher.wait_published(
                    f"desk/{path}"
                )  # longer than what lies there must be still
        files = visible(desk)
        assert len(files) == 6 + 6 + 3 + 2  # of rsync, tar, the editor and SQLite, git
        for path in files:
            publisher.wait_published(path, 30)
        listing = other.mount / "by-tag" / "desk"
        names = {path.name for path in files.values()}
        wait_until(lambda: set(os.listdir(listing)) >= names, 20, "all listed at the other node")
        shown = set(os.listdir(listing))

    contents = {path.name: file_cid(path.read_bytes()) for path in files.values()}
    assert set(seen.names) == shown == names
    for name, cid in contents.items():
        assert cid in seen.names[name]
    assert seen.names["main.c"] == {contents["main.c"]}
    assert (mirrored / "part1/mirror5.txt").read_bytes() == (
        desk / "mirror/part1/mirror5.txt"
    ).read_bytes()

    kept = [path for path in (desk / "project" / ".git").rglob("*") if path.is_file()]
    secret = {file_cid(path.read_bytes()) for path in kept} - set(contents.values())
    assert len(secret) > 10
    assert not {cid for cids in seen.names.values() for cid in cids} & secret
    assert not {str(raw_cid(multihash[2:])) for multihash in seen.provided} & secret
    with httpx.Client(verify=False, trust_env=False) as client:  # noqa: S501 the key is not the point
        for cid, served in [*((cid, False) for cid in secret), (contents["main.c"], True)]:
            answer = client.get(f"https://{publisher.address}/ipfs/{cid}?format=raw")
            assert (answer.status_code == 200) == served


@pytest.mark.parametrize(
    ("half_bytes", "pause_seconds"),
    [(100_000, 3), pytest.param(1 << 30, 10, marks=pytest.mark.nightly)],
)
def test_a_copy_that_pauses_is_published_once_when_it_is_complete(
    make_node: MakeNode, tmp_path: Path, half_bytes: int, pause_seconds: int
) -> None:
    publisher, other = start_chain(make_node, 2)
    half = f"head -c {half_bytes} /dev/urandom"
    copied = publisher.share / "film.bin"
    with watched(other) as seen:
        words = ["sh", "-c", f'{{ {half}; sleep {pause_seconds}; {half}; }} > "$0"', copied]
        with subprocess.Popen(words) as copy:
            while copy.poll() is None:
                assert publisher.share_state("film.bin") == ""
                assert not seen.names
        assert copy.returncode == 0
        cid = publisher.wait_published("film.bin", 120)
        wait_until(lambda: "film.bin" in seen.names, 10, "film.bin told to the other node")
    assert copied.stat().st_size == 2 * half_bytes
    assert publisher.run("cid", str(copied)).stdout.split()[0] == cid
    assert seen.names == {"film.bin": {cid}}
