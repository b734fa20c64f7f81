"""Completion as each shell does it: the keys are typed at a terminal, and what appears is read."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# A shell answers within milliseconds; on a busy machine within a second or two.
PATIENCE_SECONDS = 20
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x08\r]")
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {}"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit && compinit -u -D && source {}"),
    "fish": (["fish", "--no-config", "--interactive"], "source {}"),
}
TYPED = [
    ("umo", "umount"),
    ("mount --cache-s", "--cache-size"),
    ("config --js", "--json"),
    ("cid --chunk-size 51", "512K"),
    ("id exp", "export"),
    ("get fi", "film.bin"),
    ("get -o fi", "film.bin"),
    ("publish fi", "film.bin"),
    ("tag fi", "film.bin"),
]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def script(shell: str, tmp_path: Path) -> Path:
    path = tmp_path / "completion"
    command = [sys.executable, "-m", "p2pfs", "completion", shell]
    path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return path


class Terminal:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def wait_for(self, text: str) -> None:
        """Return when so much has appeared, whatever moves the cursor between."""
        seen = b""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in MOVES.sub("", seen.decode("utf-8", "replace")):
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self._descriptor], [], [], left)[0]:
                pytest.fail(f"{text!r} did not appear in {seen!r}")
            seen += os.read(self._descriptor, 4096)


@contextmanager
def interactive(command: list[str], folder: Path) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder), "PS1": "$ "}
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environ,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(ours)
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize(("typed", "completed"), TYPED)
def test_a_shell_completes_commands_flags_values_and_files(
    shell: str, script: Path, tmp_path: Path, typed: str, completed: str
) -> None:
    command, source = SHELLS[shell]
    (tmp_path / "film.bin").touch()
    if shell == "fish":  # its line editor wants a real terminal, but it can be asked
        ask = f"{source.format(script)}; complete -C 'p2pfs {typed}'"
        fish = ["fish", "--no-config", "-c", ask]
        done = subprocess.run(fish, capture_output=True, text=True, cwd=tmp_path)
        assert completed in done.stdout
        return
    with interactive(command, tmp_path) as terminal:
        terminal.type(f"{source.format(script)}; echo rea''dy\n")
        terminal.wait_for("ready")
        terminal.type(f"p2pfs {typed}\t")
        terminal.wait_for(completed)


def test_bash_completes_a_folder_with_a_blank_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "my music").mkdir()
    command = [sys.executable, "-m", "p2pfs", "completion", "bash"]
    script = subprocess.run(command, check=True, capture_output=True).stdout
    (tmp_path / "completion").write_bytes(script)
    with interactive(SHELLS["bash"][0], tmp_path) as terminal:
        terminal.type("source ./completion; echo rea''dy\n")
        terminal.wait_for("ready")
        terminal.type("p2pfs mount my\t")
        terminal.wait_for("mount my\\ music/")
