"""`docs/p2pfs.1`: the manual page, in the macros of man(7), out of the table of commands."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from p2pfs import __version__
from p2pfs.errors import EXIT_CODES
from p2pfs.settingtable import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tools.commands import Command, Option

# Of the page's wording; a page without one has "" at its foot.
_DATE = "2026-11-27"
_LINE = 72  # escapes make some longer, and 80 is what readers of the source expect
_FILES = {
    "~/.config/p2pfs/config.toml": "Settings; `p2pfs config` shows them.",
    "~/.local/share/p2pfs/": "The node's key, the catalogue of what it holds, and share/.",
    "~/.cache/p2pfs/": "What was fetched; it may be deleted at any time.",
    "~/.local/state/p2pfs/log": "What a node in the background has to say.",
}


def manpage(commands: list[Command]) -> str:
    """The whole page."""
    return "\n".join(_lines(commands)) + "\n"


def _lines(commands: list[Command]) -> Iterator[str]:
    yield '.\\" Made by `python -m tools.make_reference`; do not edit.'
    yield f'.TH P2PFS 1 {_DATE} "p2pfs {__version__}" "User Commands"'
    yield ".SH NAME"
    yield "p2pfs \\- a trackerless peer\\-to\\-peer network as a directory tree"
    yield ".SH SYNOPSIS"
    yield from _between(f".B p2pfs\n{_text(c.usage.removeprefix('p2pfs '))}" for c in commands)
    yield ".SH DESCRIPTION"
    yield "A mount shows what the network has: ls to find, cp to publish."
    yield "The README.txt in it says what to try."
    group = ""
    for command in commands:
        if command.group != group:
            group = command.group
            yield f".SH {_text(group.upper())}"
        yield from _command(command)
    yield from _settings()
    yield ".SH EXIT STATUS"
    yield from _tagged({str(code): f"{means}." for code, means in EXIT_CODES.items()}.items())
    yield from _tagged([("128 + N", "ended by signal N.")])
    yield ".SH FILES"
    yield from _tagged(_FILES.items())


def _command(command: Command) -> Iterator[str]:
    first, *more = command.does.split("\n\n")
    yield f".SS {_text(command.usage)}"
    yield _prose(first)
    for paragraph in more:
        yield ".PP"
        yield _prose(paragraph)
    yield from _tagged((option.usage, option.says) for option in _all_options(command))
    if command.examples:
        yield ".PP"
        yield ".nf"
        yield from map(_text, command.examples)
        yield ".fi"


def _all_options(command: Command) -> tuple[Option, ...]:
    return command.arguments + command.options


def _settings() -> Iterator[str]:
    yield ".SH ENVIRONMENT"
    yield "A setting comes from a flag, else from the environment, else from config.toml."
    home = ("P2PFS_HOME", "A folder for all of a node, so that several run on one machine.")
    named = ((f"P2PFS_{name.upper()}", setting.says) for name, setting in SETTINGS.items())
    yield from _tagged([home, *named])


def _tagged(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for tag, text in pairs:
        yield ".TP"
        yield f".B {_text(tag)}"
        yield _prose(text) or "\\&"


def _between(paragraphs: Iterable[str]) -> Iterator[str]:
    for index, paragraph in enumerate(paragraphs):
        if index:
            yield ".br"
        yield paragraph


def _prose(text: str) -> str:
    return "\n".join(map(_text, textwrap.wrap(text, _LINE, break_on_hyphens=False)))


def _text(text: str) -> str:
    """Text of which no line is a request: roff's own characters are escaped."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    escaped = escaped.replace("'", "\\(aq").replace("~", "\\(ti").replace("^", "\\(ha")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
