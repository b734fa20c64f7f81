"""The commands that the documentation shows, read out of its pages and run as a reader would.

A fenced block of language `console` holds lines that begin with a prompt, `ada$ `, and below each
the lines it prints.  `…` stands for whatever comes there: within a line for some characters, alone
for any number of lines.  What shows no output only has to succeed.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_PROMPT = re.compile(r"([a-z]+)\$ (.*)")
_BLOCK = re.compile(r"^```console( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY = "…"
# The network answers within a second or two; who reads looks again meanwhile, and so does this.
_PATIENCE_SECONDS = 20
_LOOK_AGAIN_SECONDS = 0.2
# These only look, so they may be run again until they show what the page shows.
_LOOKING = re.compile(r"(ls|cat|getfattr|p2pfs (status|search|info|peers|cid|id))\b")
_COMMAND_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Step:
    """One command: on whose machine, at which line of the page, and what it shows."""

    who: str
    command: str
    shows: str
    fails: bool
    line: int


def steps(page: str) -> Iterator[Step]:
    """All commands of a page, in order."""
    for block in _BLOCK.finditer(page):
        line = page.count("\n", 0, block.start(2)) + 1
        lines = block[2].splitlines()
        starts = [at for at, text in enumerate(lines) if _PROMPT.match(text)]
        for at, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            who, command = _PROMPT.match(lines[at]).groups()  # type: ignore[union-attr]  # it is a start
            shows = "\n".join(lines[at + 1 : end]).strip()
            yield Step(who, command, shows, bool(block[1]), line + at)


class Reader:
    """Somebody at a terminal of their own: a home, and a shell that keeps its folder."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={**environ, "HOME": str(home)},
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._shell.stdin, self._shell.stdout):
            if pipe is not None:
                pipe.close()
        self._shell.wait(_COMMAND_SECONDS)

    def follow(self, step: Step) -> None:
        """Run the command; raises AssertionError if it shows something else than the page."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            said, code = self._run(step.command)
            wrong = _difference(step, said, code)
            if wrong is None:
                return
            if not _LOOKING.match(step.command) or time.monotonic() > deadline:
                raise AssertionError(f"line {step.line}: {step.command}\n{wrong}")
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _run(self, command: str) -> tuple[str, int]:
        """What it prints, on both streams, and its exit code."""
        shell = self._shell
        said: list[str] = []
        assert shell.stdin is not None  # noqa: S101 opened as a pipe above
        assert shell.stdout is not None  # noqa: S101
        shell.stdin.write(f"{command}\nprintf '\\n\\x04%d\\n' $?\n")
        shell.stdin.flush()
        for line in shell.stdout:
            if line.startswith("\x04"):
                return "".join(said).strip(), int(line[1:])
            said.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{''.join(said)}")


def _difference(step: Step, said: str, code: int) -> str | None:
    if (code != 0) != step.fails:
        return f"exit code {code}:\n{said}"
    if step.shows and not _pattern(step.shows).fullmatch(f"{said}\n"):
        return f"it shows\n{said}\nand not\n{step.shows}"
    return None


def _pattern(shows: str) -> re.Pattern[str]:
    """Spaces that align columns are any number of spaces."""
    parts = []
    for line in shows.splitlines():
        if line.strip() == _ANY:
            parts.append(r"(?:.*\n)*")
        else:
            words = [_words(part) for part in line.strip().split(_ANY)]
            parts.append(r"\s*" + ".*".join(words) + r"[ ]*\n")
    return re.compile("".join(parts))


def _words(text: str) -> str:
    return r"\s+".join(map(re.escape, re.split(r"\s+", text)))
