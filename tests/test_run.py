"""`./run` before anything is installed: what it says, and that it installs nothing for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from p2pfs.cli.app import app

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "run", tmp_path)
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "reference" / "commands.md", tmp_path / "docs" / "reference")
    return tmp_path


def run(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    before = sorted(checkout.rglob("*"))
    done = subprocess.run([checkout / "run", *words], capture_output=True, text=True)
    assert sorted(checkout.rglob("*")) == before
    return done


@pytest.mark.parametrize(("words", "code"), [((), 2), (("--help",), 0), (("-h",), 0)])
def test_help_lists_every_command(checkout: Path, words: tuple[str, ...], code: int) -> None:
    done = run(checkout, *words)
    assert (done.returncode, done.stderr) == (code, "")
    assert "./run demo" in done.stdout
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {name for name in app if not name.startswith("-")} <= listed


def test_help_of_a_command_is_what_the_reference_says(checkout: Path) -> None:
    done = run(checkout, "mount", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "p2pfs mount [OPTIONS] DIRECTORY" in done.stdout
    assert "--limit-up" in done.stdout
    assert "```" not in done.stdout
    assert "p2pfs node [OPTIONS]" not in done.stdout


def test_help_of_what_is_no_command_says_so(checkout: Path) -> None:
    done = run(checkout, "frobnicate", "-h")
    assert (done.returncode, done.stdout) == (1, "")
    assert "frobnicate" in done.stderr


def test_what_is_installed_speaks_for_itself(checkout: Path) -> None:
    command = checkout / ".venv" / "bin" / "p2pfs"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\necho "p2pfs $*"\n')
    command.chmod(0o755)
    assert "p2pfs --help\n" in run(checkout, "--help").stdout
