"""The table of commands: quick help, near misses, and how a failure ends a process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from p2pfs.cli import app as commands
from p2pfs.cli.app import app, main
from p2pfs.errors import IntegrityError, NoSpaceError

# What takes long to import, and what a machine may lack that only asks for help.
SLOW = ("trio", "httpx", "pyfuse3", "kademlia", "hypercorn", "zeroconf")
ASK_FOR_HELP = f"""
import sys
from p2pfs.cli.app import app, main
main(["--help"])
for name in app:
    if not name.startswith("-"):
        main([name, "--help"])
        found = [module for module in {SLOW!r} if module in sys.modules]
        if found:
            sys.exit(f"`p2pfs {{name}} --help` imports {{found}}; import them in the function")
"""


def test_help_imports_nothing_that_takes_long() -> None:
    done = subprocess.run([sys.executable, "-c", ASK_FOR_HELP], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name in app:
        assert name in done.stdout


def test_ctrl_c_while_the_program_is_still_being_loaded_leaves_no_traceback(
    tmp_path: Path,
) -> None:
    slow = 'import sys, time; sys.stdout.write("loading"); sys.stdout.flush(); time.sleep(60)'
    (tmp_path / "cyclopts.py").write_text(slow)
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    with subprocess.Popen(
        [sys.executable, "-m", "p2pfs", "version"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(7) == b"loading"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serach"], '"search"'),
        (["mount", "x", "--lisen", "3"], "--listen"),
        (["mount", "x", "y"], "'y'"),
        (["mount"], "DIRECTORY"),
        (["cid", "x", "--chunk-size", "3K"], '"512K"'),
    ],
)
def test_a_slip_of_the_keyboard_is_answered_with_what_is_near(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("p2pfs: ")
    assert said.count("\n") == 1
    assert says in said
    assert "--help`." in said


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (NoSpaceError("the disk is full"), 7, "the disk is full; free some space"),
        (IntegrityError("wrong\x1b[2Jblocks"), 6, "wrong?[2Jblocks; nothing wrong was kept"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 1, "/x: No space left"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_failure_ends_the_process_with_its_code_and_a_line(
    failure: BaseException,
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_words: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(commands, "app", fail)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "meant"), [("--port", None), ("--pear", "--peer"), ("--cachesize", "--cache-size")]
)
def test_only_what_is_near_is_suggested(
    flag: str, meant: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["mount", "/nowhere", flag, "1"])
    said = capsys.readouterr().err
    assert ("Did you mean" in said) == (meant is not None)
    assert meant is None or f"{meant}?" in said
    assert f"Unknown option: {flag}" in said
