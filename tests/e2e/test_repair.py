"""What was published outlives all who were there when it was: neighbours hand it on."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.e2e.conftest import MakeNode
from tools.testbed import Node, wait_until

_SECONDS = 30


def test_who_comes_later_holds_what_was_published_before(make_node: MakeNode) -> None:
    publisher = make_node("publisher", mounted=False).start()
    holder = make_node("holder", mounted=False).start(publisher)
    holder.wait_contacts(1)
    (publisher.share / "song.txt").write_bytes(b"song")
    publisher.wait_published("song.txt")
    expected = held(holder)
    assert expected
    late = make_node("late", mounted=False).start(holder)
    wait_until(lambda: held(late) >= expected, _SECONDS, "the records of the others")
    publisher.kill()
    holder.kill()
    later = make_node("later", mounted=False).start(late)
    later.wait_contacts(1)
    assert "song.txt" in later.run("search", "song").stdout


def held(node: Node) -> set[bytes]:
    """The keys that a node has something under."""
    file = node.home / "data" / "overlay.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return {row[0] for row in database.execute("SELECT key FROM records")}
