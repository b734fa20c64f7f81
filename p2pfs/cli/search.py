"""`p2pfs search`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from p2pfs.cli.control import ask
from p2pfs.control.found import Found, Sought
from p2pfs.errors import NotFoundError, UsageError
from p2pfs.status import encode_json, human_bytes

_HEADINGS = ("SIZE", "NODES", "CONTENT ID", "NAME")
_NUMERIC_COLUMNS = 2  # the first ones; figures stand at the right
# The node lets the network answer for 5 s, and 10,000 files take it a moment to tell.
_SEARCH_SECONDS = 15


def search(
    *words: Annotated[str, Parameter(allow_leading_hyphen=False)],
    tag: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Find files whose name or title holds all the words.

    A terminal gets a table; a pipe a line each: content id, bytes, nodes that have it, name,
    with tabs between. Read one as by-hash/CONTENT-ID in the mount. Exits 3 if there is none.

    Parameters
    ----------
    words
        What the name or title must hold; artist:pearl-jam and the like are tags.
    tag
        A tag that it must have too; may be given more than once.
    json
        Print JSON instead, for scripts.
    """
    if not words and not tag:
        raise UsageError("search for what? Give a word, or --tag and a tag")
    found = ask("search", Sought(_text(words), _text(tag)), Found, _SEARCH_SECONDS)
    if json:
        sys.stdout.write(encode_json(found).decode())
    else:
        sys.stdout.write(_table(found) if sys.stdout.isatty() else _lines(found))
    if not found.files:
        late = "" if found.complete else "; the network has not answered yet, so try again"
        raise NotFoundError(f"nothing was found{late}")


def _text(words: tuple[str, ...]) -> list[str]:
    try:
        return [word.encode().decode() for word in words]
    except UnicodeEncodeError as error:
        raise UsageError("words and tags are text in UTF-8") from error


def _lines(found: Found) -> str:
    return "".join(
        f"{file.cid}\t{file.size}\t{len(file.publishers)}\t{file.name}\n" for file in found.files
    )


def _table(found: Found) -> str:
    if not found.files:
        return ""
    rows = [_HEADINGS] + [
        (human_bytes(file.size), str(len(file.publishers)), file.cid, file.name)
        for file in found.files
    ]
    *widths, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "".join(_row(row, widths) for row in rows)


def _row(row: tuple[str, ...], widths: list[int]) -> str:
    """The name comes last, for its width on a terminal is not known."""
    padded = [
        cell.rjust(width) if column < _NUMERIC_COLUMNS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return "  ".join((*padded, row[-1])) + "\n"
