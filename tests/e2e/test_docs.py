"""Every command that the user pages show, run in the order of the page, by as many users."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools import samples
from tools.shown import Reader, steps
from tools.testbed import NETWORK

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if "```console" in page.read_text())


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with Machines(tmp_path) as found:
        yield found


class Machines:
    """A home for each reader, with the files that the pages speak of."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[str, Reader] = {}
        self.ports = {who: free_port() for who in ("ada", "bob")}
        self._stack = ExitStack()

    def __enter__(self) -> Machines:
        self._command = self._folder / "bin" / "p2pfs"
        self._command.parent.mkdir()
        self._command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m p2pfs "$@"\n')
        self._command.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for home in self._folder.glob("*/p2p"):
            if os.path.ismount(home):
                environ = self._environ(home.parent)
                subprocess.run([self._command, "umount", home], env=environ, check=True)

    def reader(self, who: str) -> Reader:
        if who not in self._readers:
            home = self._folder / who
            home.mkdir()
            furnish(home)
            self._readers[who] = self._stack.enter_context(Reader(home, self._environ(home)))
        return self._readers[who]

    def _environ(self, home: Path) -> dict[str, str]:
        """Ports and networks apart from what else is on this machine."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        return kept | {
            "HOME": str(home),
            "PATH": f"{self._command.parent}:{kept['PATH']}",
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(home / ".run"),
            "P2PFS_LISTEN": f"127.0.0.1:{self.ports[home.name]}",
            "P2PFS_NETWORK": NETWORK,
            "NO_COLOR": "1",
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def furnish(home: Path) -> None:
    (home / "Music").mkdir()
    song = samples.mp3(artist="Pearl Jam", title="Black", album="Ten", frames=400)
    (home / "Music" / "black.mp3").write_bytes(song)
    (home / "photos").mkdir()
    for name in ("beach.png", "harbour.png"):
        (home / "photos" / name).write_bytes(samples.png(32, 32) + name.encode())
    (home / "results.csv").write_text("run,score\n1,0.93\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_what_happens(page: Path, machines: Machines) -> None:
    text = page.read_text().replace("198.51.100.7:7117", f"127.0.0.1:{machines.ports['ada']}")
    for step in steps(text):
        machines.reader(step.who).follow(step)
