"""The table of commands as plain values, for pages about them.

Whatever is in `p2pfs.cli.app` comes along by itself; how a page looks is for `manpage` and
`make_reference`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from p2pfs.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App
    from cyclopts.argument import Argument


@dataclass(frozen=True)
class Option:
    """A flag, or an argument by place; `form` stands for its value, empty for a switch."""

    names: tuple[str, ...]
    form: str
    says: str
    group: str

    @property
    def usage(self) -> str:
        return ", ".join(self.names) + (f" {self.form}" if self.form else "")


@dataclass(frozen=True)
class Command:
    """`words` are what is typed; the first line of `does` says what it is for."""

    words: str
    does: str
    group: str
    usage: str
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]
    examples: tuple[str, ...]

    @property
    def has_json(self) -> bool:
        return any("--json" in option.names for option in self.options)


def commands() -> list[Command]:
    """All commands, in the order of the table, each before those below it."""
    return list(_below(app, "p2pfs", ""))


def _below(parent: App, words: str, group: str) -> Iterator[Command]:
    for name in parent:
        if name.startswith("-"):
            continue
        child = parent[name]
        inside = group or str(child.group[0].name)  # type: ignore[index, union-attr]
        yield _command(child, f"{words} {name}", inside)
        yield from _below(child, f"{words} {name}", inside)


def _command(command: App, words: str, group: str) -> Command:
    found = [argument for argument in _arguments(command) if argument.show]
    by_place = [argument for argument in found if argument.index is not None]
    options = [argument for argument in found if argument.index is None]
    usage = [words, *(["[OPTIONS]"] if options else []), *map(_place, by_place)]
    return Command(
        words,
        command.help,
        group,
        " ".join(usage),
        tuple(map(_option, by_place)),
        tuple(map(_option, options)),
        tuple(line.strip() for line in (command.help_epilogue or "").splitlines()[1:]),
    )


def _arguments(command: App) -> list[Argument]:
    if command.default_command is None:
        return []
    with app.app_stack([]):  # the defaults of the whole table count
        return list(command.assemble_argument_collection(parse_docstring=True))


def _place(argument: Argument) -> str:
    name = argument.names[0]
    if argument.field_info.kind == argument.field_info.VAR_POSITIONAL:
        return f"[{name}...]" if not argument.required else f"{name}..."
    return name if argument.required else f"[{name}]"


def _option(argument: Argument) -> Option:
    says = argument.parameter.help or ""
    choices = argument.get_choices()
    if choices:
        says += f" One of: {', '.join(choices)}."
    group = next((g.name for g in argument.parameter.group or ()), "")  # type: ignore[union-attr]
    names = tuple(n for n in argument.names if not n.startswith(("--no-", "--empty-")))
    return Option(names, _form(argument), " ".join(says.split()), group)


def _form(argument: Argument) -> str:
    if argument.index is not None or argument.hint is bool:
        return ""
    kinds = (argument.hint, *get_args(argument.hint))
    return argument.parameter.metavar or ("PATH" if Path in kinds else "TEXT")
