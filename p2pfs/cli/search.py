"""`p2pfs search`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from p2pfs.cli.control import ask, running_status
from p2pfs.cli.printing import write_json, write_table
from p2pfs.cli.progress import open_wait
from p2pfs.errors import NotFoundError, UsageError
from p2pfs.status import ALONE
from p2pfs.text import Column, human_bytes

if TYPE_CHECKING:
    from p2pfs.control.found import Found, FoundFile

# The node lets the network answer for 5 s, and 10,000 files take it a moment to tell.
_SEARCH_SECONDS = 15
_COLUMNS: list[Column[FoundFile]] = [
    Column("CONTENT ID", lambda file: file.cid, style=lambda _: "dim"),
    Column("SIZE", lambda file: file.size, lambda file: human_bytes(file.size), "right"),
    Column("NODES", lambda file: len(file.providers), align="right"),
    Column("NAME", lambda file: file.name),
]


def search(
    *words: Annotated[str, Parameter(allow_leading_hyphen=False)],
    tag: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Find files whose name or title holds all the words.

    Parameters
    ----------
    words
        What the name or title must hold; artist:pearl-jam and the like are tags.
    tag
        A tag that it must have too; may be given more than once.
    json
        Print JSON instead, for scripts.
    """
    from p2pfs.control import found as answers  # late: trio comes with it

    if not words and not tag:
        raise UsageError("search for what? Give a word, or --tag and a tag")
    sought = answers.Sought(_text(words), _text(tag))
    with open_wait("asking the network"):
        found = ask("search", sought, answers.Found, _SEARCH_SECONDS)
    if json:
        write_json(found)
    else:
        write_table(_COLUMNS, found.files)
    if not found.files:
        raise NotFoundError(f"nothing was found{_why_not(found)}")


def _why_not(found: Found) -> str:
    if running_status().overlay.mode == ALONE:
        return " here, and no other node answers; `p2pfs status` says more"
    return "" if found.complete else "; the network has not answered yet, so try again"


def _text(words: tuple[str, ...]) -> list[str]:
    try:
        return [word.encode().decode() for word in words]
    except UnicodeEncodeError as error:
        raise UsageError("words and tags are text in UTF-8") from error
