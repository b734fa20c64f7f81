"""How far a long command has come: a bar on a terminal, nothing in a script's log.

It is written to stderr, so that stdout carries nothing but the answer.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol

from p2pfs.cli.printing import paint_for
from p2pfs.text import printable, uncoloured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

Unit = Literal["bytes", "files"]
_SIGNALLED = 128  # what a shell adds to the number of the signal
_LONGEST_NAME = 40  # beside it a bar, a rate and a time must fit in 80 columns


class Progress(Protocol):
    """What a command says while it works; `done` and `total` are in the unit it was opened with."""

    def at(self, done: int, total: int | None = None) -> None:
        """So much is done, of so much if that has become known."""

    def name(self, name: str) -> None:
        """What it is about now, written before the bar."""

    def say(self, line: str) -> None:
        """A line that stays."""


@contextmanager
def open_progress(name: str, total: int | None = None, unit: Unit = "bytes") -> Iterator[Progress]:
    """A bar while the block runs and stderr is a terminal; gone, and the cursor back, after it."""
    if not sys.stderr.isatty():
        yield _Quiet()
        return
    with _ended_tidily(), _rich(_console(), unit) as bars:
        task = bars.add_task(_short(name), total=total)
        yield _Bar(bars, task)


@contextmanager
def open_wait(says: str) -> Iterator[None]:
    """What is waited for while the block runs and stderr is a terminal; gone after it."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.text import Text  # late, as the console

    with _ended_tidily(), _console().status(Text(printable(says)), spinner="line"):
        yield


class _Quiet:
    """Where nobody watches: only what stays is written."""

    def at(self, done: int, total: int | None = None) -> None:
        pass

    def name(self, name: str) -> None:
        pass

    def say(self, line: str) -> None:
        print(printable(line), file=sys.stderr)


class _Bar:
    def __init__(self, bars: RichProgress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def at(self, done: int, total: int | None = None) -> None:
        self._bars.update(self._task, completed=done, total=total)

    def name(self, name: str) -> None:
        self._bars.update(self._task, description=_short(name))

    def say(self, line: str) -> None:
        self._bars.console.out(printable(line), highlight=False)


def _console() -> Console:
    from rich.console import Console  # 30 ms that most commands need not spend

    return Console(file=sys.stderr, no_color=paint_for(sys.stderr) is uncoloured, highlight=False)


def _rich(console: Console, unit: Unit) -> RichProgress:
    from rich import progress as rich  # as above

    counted: tuple[rich.ProgressColumn, ...] = (rich.MofNCompleteColumn(),)
    if unit == "bytes":
        counted = (rich.DownloadColumn(binary_units=True), rich.TransferSpeedColumn())
    return rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=None),
        rich.TaskProgressColumn(),
        *counted,
        rich.TimeRemainingColumn(),
        console=console,
        transient=True,
        expand=True,
    )


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


@contextmanager
def _ended_tidily() -> Iterator[None]:
    """SIGTERM unwinds the stack as Ctrl-C does, so that the terminal gets its cursor back."""

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(_SIGNALLED + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
