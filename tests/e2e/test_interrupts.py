"""Ctrl-C at the commands that take long: an exit code, what goes on, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeNode
from tools.testbed import Node, wait_until

pytestmark = pytest.mark.kernel


@pytest.fixture
def slow_reader(make_node: MakeNode) -> tuple[Node, str]:
    """A node that takes a minute for a file that another one has, and that file's content id."""
    publisher = make_node("A", mounted=False).start()
    reader = make_node("B", mounted=False, environ={"P2PFS_LIMIT_DOWN": "64K"}).start(publisher)
    (publisher.share / "film.bin").write_bytes(os.urandom(4 << 20))
    return reader, publisher.wait_published("film.bin")


def interrupted(node: Node, *words: str, begun: Callable[[], object]) -> str:
    """What a command says that is interrupted when it has begun."""
    with subprocess.Popen(
        [*node.command, *words],
        env={**os.environ, "P2PFS_HOME": str(node.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(begun, 20, f"{words[0]} to begin")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGINT
    assert said[0] == ""
    return said[1]


def test_get_keeps_what_has_come(slow_reader: tuple[Node, str], tmp_path: Path) -> None:
    node, cid = slow_reader
    (tmp_path / "here").mkdir()

    def here() -> str:
        return ",".join(os.listdir(tmp_path / "here"))

    said = interrupted(node, "get", cid, "-o", str(tmp_path / "here" / "film.bin"), begun=here)
    assert said == "p2pfs: stopped; the same command goes on from here\n"
    assert re.fullmatch(r"film~\w+\.bin\.part|film\.bin~\w+\.part", here())


def test_a_pin_stays_and_the_node_goes_on_with_it(slow_reader: tuple[Node, str]) -> None:
    node, cid = slow_reader
    said = interrupted(node, "pin", cid, begun=lambda: cid in node.run("pin").stdout)
    assert said == "p2pfs: no longer waiting; what `p2pfs pin` lists goes on coming\n"
    assert cid in node.run("pin").stdout


def test_publishing_goes_on(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node("A", mounted=False).start()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    words = ("publish", str(tmp_path / "notes"), "--wait")
    said = interrupted(node, *words, begun=lambda: "no peers yet" in node.run("publish").stdout)
    assert said == "p2pfs: no longer waiting; it goes on being published\n"
    assert str(tmp_path / "notes") in node.run("publish").stdout
