"""A node starts on what the first version left, and goes on serving it."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode
from tools import samples
from tools.testbed import Node

pytestmark = pytest.mark.kernel

TESTS = Path(__file__).parents[1]
HELLO = b"kept over the upgrade\n" * 40
HELLO_CID = "bafkreifyx4ab3btiecqfy66mruf77krdtwhuirthjgkojm5cwkumc7glby"
BIG_CID = "bafybeicenvxewdhacw5difivi4ld7fus2nvw2ubh5zlblvutbsl4wap5hi"
SONG_CID = "bafkreihcf3u3vwvg7eep4xirpbwsfr4gpalndnpxdflqltatupd34qg3eq"
LONG_CID = "bafybeih2hzkdtrt4brrd6jwhec5xcic5vidf6pbfyiqvwphhxbraxicaou"


def leave_as_the_first_version(node: Node) -> None:
    """Its databases, and the files that they speak of."""
    data, objects = node.home / "data", node.home / "cache" / "objects"
    (data / "share" / "notes").mkdir(parents=True)
    contents = {
        data / "share" / "notes" / "hello.txt": HELLO,
        data / "share" / "big.bin": random.Random(8).randbytes(600_000),
        objects / SONG_CID[-3:-1] / SONG_CID: samples.mp3(
            artist="Nina", title="Blue", album="Dawn", frames=40
        ),
        objects / LONG_CID[-3:-1] / LONG_CID: random.Random(7).randbytes(262_144),
    }
    for file, content in contents.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    os.truncate(objects / LONG_CID[-3:-1] / LONG_CID, 700_000)
    for name, dump in {
        "catalog.sqlite": TESTS / "store" / "catalog_v1.sql",
        "overlay.sqlite": TESTS / "dht" / "overlay_v1.sql",
    }.items():
        with closing(sqlite3.connect(data / name)) as database:
            database.executescript(dump.read_text())


def keep_identities(node: Node) -> None:
    """What a dump cannot hold: which file of this disk each row means."""
    data = node.home / "data"
    with closing(sqlite3.connect(data / "catalog.sqlite", isolation_level=None)) as database:
        for path, mtime_ns in database.execute("SELECT path, mtime_ns FROM shares").fetchall():
            file = data / "share" / os.fsdecode(path)
            os.utime(file, ns=(mtime_ns, mtime_ns))
            status = file.stat()
            database.execute(
                "UPDATE shares SET dev = ?, ino = ? WHERE path = ?",
                (status.st_dev, status.st_ino, path),
            )


def test_a_node_starts_on_what_the_first_version_left_and_serves_it(make_node: MakeNode) -> None:
    old, reader = make_node("old"), make_node("reader")
    leave_as_the_first_version(old)
    keep_identities(old)
    old.start()
    assert (old.home / "data" / "catalog.sqlite.v1").exists()
    assert not (old.home / "data" / "overlay.sqlite.unusable").exists()
    assert {share["cid"] for share in old.status()["shares"]} == {HELLO_CID, BIG_CID}
    assert old.status()["cache"]["used"] == 20_480 + 262_144  # 16,795 and 262,144 bytes, in blocks
    song = samples.mp3(artist="Nina", title="Blue", album="Dawn", frames=40)
    assert (old.mount / "by-hash" / SONG_CID).read_bytes() == song
    with (old.mount / "by-hash" / LONG_CID).open("rb", buffering=0) as file:
        assert file.read(1_000) == random.Random(7).randbytes(1_000)

    reader.start(old)
    reader.wait_contacts(1)
    assert old.wait_published("notes/hello.txt") == HELLO_CID
    assert (reader.mount / "by-hash" / HELLO_CID).read_bytes() == HELLO
