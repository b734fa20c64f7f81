"""Progress on a real terminal: a pseudo-terminal whose other end is read here."""

from __future__ import annotations

import os
import pty
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from p2pfs.cli.printing import paint_for, write_facts
from p2pfs.cli.progress import open_progress, open_wait
from p2pfs.text import Fact, coloured, uncoloured

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[list[str]]:
    """Stands in for `sys.stdout` or `sys.stderr`; what was written is in the list afterwards."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = pty.openpty()
    written: list[str] = []
    with open(theirs, "w") as stream, open(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, name, stream)
        try:
            yield written
        finally:
            stream.flush()
            os.set_blocking(ours, False)
            while piece := screen.read(65536):
                written.append(piece.decode())


def test_a_bar_shows_how_far_it_has_come_and_leaves_the_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with terminal(monkeypatch, "stderr") as written, open_progress("[red]a\x1b[2J", 100) as bar:
        bar.at(50)
    screen = "".join(written)
    assert "[red]a?[2J" in screen
    assert "50%" in screen
    assert screen.index(HIDE_CURSOR) < screen.index(SHOW_CURSOR)


@pytest.mark.parametrize(("ending", "error"), [("INT", KeyboardInterrupt), ("TERM", SystemExit)])
def test_a_signal_leaves_the_terminal_as_it_was(
    monkeypatch: pytest.MonkeyPatch, ending: str, error: type[BaseException]
) -> None:
    with (
        terminal(monkeypatch, "stderr") as written,
        pytest.raises(error),
        open_progress("song.mp3", 100),
    ):
        signal.raise_signal(signal.Signals[f"SIG{ending}"])
    assert "".join(written).rindex(SHOW_CURSOR) > 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_waited_for_is_shown_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, "stderr") as written, open_wait("looking for [red]a\x1b[2J"):
        pass
    screen = "".join(written)
    assert "looking for [red]a?[2J" in screen
    assert screen.index(HIDE_CURSOR) < screen.index(SHOW_CURSOR)
    assert screen.endswith("\x1b[2K")


def test_where_nobody_watches_only_what_stays_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open_wait("looking"), open_progress("song.mp3") as progress:
        progress.at(5, 10)
        progress.name("other.mp3")
        progress.say("song.mp3 is \x1bdone")
    assert capsys.readouterr() == ("", "song.mp3 is ?done\n")


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, "stdout") as written:
        assert paint_for(sys.stdout) is coloured
        write_facts([Fact("size", 1, "1 B")])
        monkeypatch.setenv("TERM", "dumb")
        assert paint_for(sys.stdout) is uncoloured
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        assert paint_for(sys.stdout) is uncoloured
        write_facts([Fact("size", 1, "1 B")])
    assert "".join(written) == "\x1b[2msize\x1b[0m  1 B\r\nsize  1 B\r\n"


def test_a_pipe_gets_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    write_facts([Fact("size", 1, "1 B")])
    assert capsys.readouterr().out == "size\t1\n"
