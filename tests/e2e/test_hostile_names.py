"""What a hostile publisher calls its files reaches no terminal raw, and hides nobody else's."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import start_chain
from tools.records import publisher, signed_meta, store
from tools.testbed import Node, wait_until
from tools.testbed import testbed as open_testbed

pytestmark = pytest.mark.kernel

TAG, HONEST = "mixed", "honest.txt"
ESCAPE, OVERRIDE = "\x1b]0;owned\x07\x1b[2J", "\u202e"
# Names that a record may hold, though no directory should show them, and names it may not.
KEPT = ["two\nlines.txt", f"{ESCAPE}.txt", f"cod{OVERRIDE}txt.exe", "..", ".hidden", "-rf"]
REFUSED = ["../x", "n" * 300, "", "nul\0.txt", "/etc/passwd"]


def accepted() -> list[bytes]:
    key = publisher(666)
    odd = signed_meta(key, b"tags", name="odd-tags.txt", tags=sorted([TAG, f"x{OVERRIDE}y"]))
    return [odd, *(signed_meta(key, name.encode(), name=name, tags=[TAG]) for name in KEPT)]


def refused() -> list[bytes]:
    key = publisher(666)
    mime = signed_meta(key, b"mime", tags=[TAG], mime="text/\x1b[31m")
    no_utf8 = signed_meta(key, b"bytes", tags=[TAG], name="AAAA.txt").replace(b"AAAA", b"\xff" * 4)
    return [mime, no_utf8, *(signed_meta(key, n.encode(), name=n, tags=[TAG]) for n in REFUSED)]


def is_harmless(text: str) -> bool:
    """Whether nothing in it but tabs and line ends does anything to a terminal."""
    return all(character.isprintable() or character in "\r\n\t" for character in text)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """A node that was offered all those records, and one that searches there; both are mounted."""
    with open_testbed(tmp_path_factory.mktemp("hostile")) as make:
        holder, reader = start_chain(make, 2)
        (holder.share / TAG).mkdir()
        (holder.share / TAG / HONEST).write_bytes(b"honest")
        holder.wait_published(f"{TAG}/{HONEST}")
        for record in refused():
            store(TAG, [record], [holder])
        assert store(TAG, accepted(), [holder]) == [len(accepted())]
        listing = reader.mount / "by-tag" / TAG
        wait_until(lambda: len(os.listdir(listing)) > len(KEPT), 5, "all of them listed")
        yield [holder, reader]


def on_a_terminal(node: Node, *words: str) -> str:
    """What a command prints if a person looks at it, without our own colours."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "P2PFS_HOME": str(node.home), "NO_COLOR": "1"}
    with subprocess.Popen([*node.command, *words], stdout=theirs, env=environ) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # EIO: the other end has closed it
        return b""


def test_hostile_names_neither_hide_others_nor_are_listed_raw(nodes: list[Node]) -> None:
    for node in nodes:
        for place in (f"by-tag/{TAG}", "search/txt"):
            names = os.listdir(node.mount / place)
            assert HONEST in names
            assert all(is_harmless(name) and not name.startswith(".") for name in names)
        listing = node.mount / "by-tag" / TAG
        names = os.listdir(listing)
        assert len(names) == len(KEPT) + 2
        for name in names:
            assert (listing / name).stat().st_size >= 0
        assert {"two_lines.txt", "cod_txt.exe", "_.", "_hidden", "odd-tags.txt"} <= set(names)
        assert is_harmless("".join(os.listdir(node.mount / "by-tag")))
    assert (listing / HONEST).read_bytes() == b"honest"


def test_attributes_of_hostile_files_are_harmless(nodes: list[Node]) -> None:
    listing = nodes[1].mount / "by-tag" / TAG
    for name in os.listdir(listing):
        ours = ("tags", "mime", "publisher", "providers", "published", "last_error")
        listed = os.listxattr(listing / name)
        assert listed == ["user.xdg.tags", "user.mime_type"]
        for attribute in (*listed, *(f"user.p2pfs.{each}" for each in ours)):
            assert is_harmless(os.getxattr(listing / name, attribute).decode())


def test_search_shows_hostile_files_harmlessly_in_every_form(nodes: list[Node]) -> None:
    for node in nodes:
        lines = node.run("search", "--tag", TAG).stdout
        assert is_harmless(lines)
        assert lines.count("\n") == len(KEPT) + 2
        table = on_a_terminal(node, "search", "--tag", TAG)
        assert is_harmless(table)
        assert table.count("\n") == len(KEPT) + 3
        printed = node.run("search", "--tag", TAG, "--json").stdout
        assert is_harmless(printed)
        files = json.loads(printed)["files"]
        assert HONEST in [file["name"] for file in files]
        assert is_harmless(
            "".join(text for file in files for text in [file["name"], *file["tags"]])
        )


def test_hostile_questions_and_what_was_logged_are_harmless(nodes: list[Node]) -> None:
    holder, reader = nodes
    for odd in (ESCAPE, f"x{OVERRIDE}y", "a\nb"):
        assert not os.path.exists(reader.mount / "by-tag" / TAG / odd)
        os.path.exists(reader.mount / "search" / odd)
        reader.run("search", "--tag", odd)
    assert not os.path.exists(reader.mount / "by-tag" / TAG / "..x")
    assert is_harmless("".join(os.listdir(reader.mount / "by-tag")))
    assert is_harmless("".join(os.listdir(reader.mount / "search")))
    with pytest.raises(OSError):
        (reader.mount / "by-tag" / TAG / "two_lines.txt").read_bytes()
    for node in (holder, reader):
        assert is_harmless(node.run("status").stdout)
        assert is_harmless(node.run("status", "--json").stdout)
        assert is_harmless(Path(node.log).read_text())
        assert "Traceback" not in Path(node.log).read_text()
