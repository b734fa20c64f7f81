"""Many who publish under one tag, seen from a node that knows one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import MakeNode, start_chain
from tools.testbed import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.kernel

# Forty interpreters take long to start on two cores, and forty nodes of one wait for it.
_NODES_A_PROCESS = 10


@pytest.mark.parametrize(
    ("publishers", "files"), [(40, 1), pytest.param(40, 40, marks=pytest.mark.nightly)]
)
def test_all_of_forty_publishers_are_listed_by_who_knows_one(
    make_node: MakeNode, tmp_path: Path, publishers: int, files: int
) -> None:
    first = make_node("first", mounted=False).start()
    crowd = tmp_path / "crowd"
    names = {f"{one:02d}-{other:02d}.txt" for one in range(publishers) for other in range(files)}
    for name in names:
        folder = crowd / name[:2] / "share" / "common"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    homes = sorted(str(home) for home in crowd.iterdir())
    with ExitStack() as running:
        for first_home in range(0, publishers, _NODES_A_PROCESS):
            some_homes = homes[first_home : first_home + _NODES_A_PROCESS]
            running.enter_context(crowd_of(first.address, some_homes))
        reader = make_node("reader").start(first)
        listing = reader.mount / "by-tag" / "common"
        wait_until(lambda: set(os.listdir(listing)) == names, 40 + 10 * files, "all listed")
        some = max(names)
        assert (listing / some).read_bytes() == some.encode()


@contextmanager
def crowd_of(peer: str, homes: Sequence[str]) -> Iterator[None]:
    """Nodes with these homes, in one process, until the end."""
    words = [sys.executable, "-m", "tests.e2e.crowd", peer, *homes]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(20)


def test_one_content_of_two_is_one_entry_and_two_of_one_name_are_two_also_after_a_restart(
    make_node: MakeNode,
) -> None:
    one, other, reader = start_chain(make_node, 3)
    for node, content in ((one, b"one"), (other, b"another")):
        folder = node.share / "doubles"
        folder.mkdir()
        (folder / "both.txt").write_bytes(b"the same")
        (folder / "name.txt").write_bytes(content)
    for node in (one, other):
        node.wait_published("doubles/both.txt")
        node.wait_published("doubles/name.txt")
    listing = reader.mount / "by-tag" / "doubles"

    def seen() -> dict[str, bytes]:
        return {name: (listing / name).read_bytes() for name in os.listdir(listing)}

    wait_until(lambda: len(os.listdir(listing)) == 3, 10, "both contents listed")
    before = seen()
    assert {"both.txt", "name.txt"} < set(before)
    assert sorted(before.values()) == [b"another", b"one", b"the same"]
    wait_until(
        lambda: os.getxattr(listing / "both.txt", "user.p2pfs.providers").count(b",") == 1,
        10,
        "two providers of one content",
    )
    reader.stop()
    reader.start(other)
    wait_until(lambda: len(os.listdir(listing)) == 3, 10, "all listed after the restart")
    assert seen() == before
