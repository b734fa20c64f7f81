"""Everything in docs/ that is made from the code: `python -m tools.make_reference` writes it anew.

A test compares what is committed with what this makes.
"""

from __future__ import annotations

import importlib
from errno import errorcode
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfs import errors
from p2pfs.errors import EXIT_CODES, P2pfsError
from p2pfs.settingtable import SETTINGS
from tools.commands import Command, Option, commands
from tools.manpage import manpage
from tools.schemas import described

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

DOCS = Path(__file__).parent.parent / "docs"
_MADE = "<!-- Made by `python -m tools.make_reference`; do not edit. -->\n"

# What each command prints with --json, and when; MODULE:NAME of a Struct.
JSON_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "p2pfs status": [("p2pfs.status:Status", "")],
    "p2pfs search": [("p2pfs.control.found:Found", "")],
    "p2pfs peers": [("p2pfs.cli.peers:Peers", "")],
    "p2pfs info": [("p2pfs.control.asked:ContentInfo", "")],
    "p2pfs pin": [
        ("p2pfs.control.kept:PinList", "without arguments"),
        ("p2pfs.control.kept:PinProgress", "one for each content, when it is there"),
    ],
    "p2pfs tag": [("p2pfs.control.owned:Tagged", "")],
    "p2pfs publish": [("p2pfs.control.asked:PublishedPaths", "")],
    "p2pfs verify": [("p2pfs.cli.verify:Verification", "")],
    "p2pfs unpin": [("p2pfs.control.kept:Unpinned", "")],
    "p2pfs gc": [("p2pfs.control.kept:Collected", "")],
    "p2pfs config": [("p2pfs.cli.config:ShownConfig", "")],
    "p2pfs doctor": [("p2pfs.doctor.findings:Report", "")],
}


def main() -> None:
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def pages() -> dict[Path, str]:
    """Every page, by where it lies."""
    known = commands()
    reference = DOCS / "reference"
    return {
        DOCS / "p2pfs.1": manpage(known),
        reference / "commands.md": _page(_commands(known)),
        reference / "settings.md": _page(_settings()),
        reference / "json.md": _page(_json()),
        reference / "exit-codes.md": _page(_exit_codes()),
    }


def answer_of(name: str) -> type[msgspec.Struct]:
    """The Struct at MODULE:NAME."""
    module, _, attribute = name.partition(":")
    found: type[msgspec.Struct] = getattr(importlib.import_module(module), attribute)
    return found


def _page(lines: Iterator[str]) -> str:
    return _MADE + "\n".join(lines).rstrip() + "\n"


def _commands(known: list[Command]) -> Iterator[str]:
    yield "# Commands\n"
    yield "`p2pfs COMMAND --help` says the same. `--json` is described in [json.md](json.md),"
    yield "exit codes in [exit-codes.md](exit-codes.md), settings in [settings.md](settings.md).\n"
    group = ""
    for command in known:
        if command.group != group:
            group = command.group
            yield f"## {group}\n"
        yield f"### {command.words}\n"
        yield f"```\n{command.usage}\n```\n"
        yield f"{_prose(command.does)}\n"
        yield from _options(command.arguments + command.options)
        if command.examples:
            yield "\n".join(("Examples:\n\n```sh", *command.examples, "```\n"))


def _options(options: tuple[Option, ...]) -> Iterator[str]:
    if options:
        yield "\n".join(f"- `{option.usage}`: {_prose(option.says)}" for option in options) + "\n"


def _settings() -> Iterator[str]:
    yield "# Settings\n"
    yield "Each can be given as a flag of `p2pfs mount` and `p2pfs node`, as a variable of the"
    yield "environment, or in `config.toml`; the first of these that is there counts."
    yield "`p2pfs config` shows all of them, where each comes from, and which of them a running"
    yield "node has otherwise, since it was started with flags or before they were changed.\n"
    yield "A SIZE is a number of bytes, or one with a unit: `500M`, `20G`, `1.5T` (binary units)."
    yield "A RATE is a SIZE a second. Lists are separated by commas or spaces in the environment;"
    yield "as a flag, the flag is repeated.\n"
    yield "`P2PFS_HOME` is no setting but a folder for all of a node: its `config.toml`, `data/`,"
    yield "`cache/`, `log` and `run/`.\n"
    for name, setting in SETTINGS.items():
        flag = "--peer" if name == "peers" else f"--{name.replace('_', '-')}"
        yield f"## {name}\n"
        yield f"{_prose(setting.says)} Default: {setting.default}.\n"
        yield "\n".join(
            (
                "```",
                f"{name} = {setting.example}".ljust(48) + " # config.toml",
                f"P2PFS_{name.upper()}=…".ljust(48) + " # environment",
                f"{flag} {setting.form}".ljust(48) + " # flag",
                "```\n",
            )
        )


def _json() -> Iterator[str]:
    yield "# What `--json` prints\n"
    yield "Fields are only ever added, so a script reads those it knows and ignores the others."
    yield "Sizes are in bytes, times in UNIX seconds. What is not printable in a text is escaped.\n"
    for command, answers in JSON_ANSWERS.items():
        yield f"## {command} --json\n"
        for name, when in answers:
            yield from described(answer_of(name), when)


def _exit_codes() -> Iterator[str]:
    yield "# Exit codes\n"
    yield "What went wrong, why, and what to do is one line on standard error;"
    yield "the code is for scripts.\n"
    yield "| code | meaning |\n|---|---|"
    for code, means in EXIT_CODES.items():
        yield f"| {code} | {means} |"
    yield "| 128 + N | ended by signal N: 130 Ctrl-C, 141 a pipe without reader, 143 `kill` |"
    yield "\nThe failures behind them, as `p2pfs/errors.py` has them, and what the mount answers:\n"
    yield "| code | failure | errno |\n|---|---|---|"
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    known = [kind for kind in kinds if issubclass(kind, P2pfsError) and kind is not P2pfsError]
    for kind in sorted(known, key=lambda kind: kind.exit_code):
        name = kind.__name__.removesuffix("Error")
        yield f"| {kind.exit_code} | {name} | {errorcode[kind.errno]} |"


def _prose(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    main()
