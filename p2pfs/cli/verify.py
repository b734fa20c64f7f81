"""`p2pfs verify`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter

from p2pfs.cli.contents import Word, content_named
from p2pfs.cli.control import follow
from p2pfs.cli.printing import write_json, write_table
from p2pfs.cli.progress import open_progress
from p2pfs.control.kept import Named, Verified
from p2pfs.errors import IntegrityError
from p2pfs.text import Column, counted, human_bytes

_COLUMNS: list[Column[Verified]] = [
    Column("CONTENT ID", lambda one: one.cid, style=lambda _: "dim"),
    Column("CHECKED", lambda one: one.checked, lambda one: human_bytes(one.checked), "right"),
    Column(
        "FOUND", lambda one: one.wrong or "right", style=lambda one: "bad" if one.wrong else "good"
    ),
]


class Verification(msgspec.Struct, frozen=True):
    """`verify --json` prints exactly this; fields are only ever added."""

    contents: list[Verified]


def verify(
    *contents: Annotated[Word, Parameter(allow_leading_hyphen=False)],
    json: bool = False,
) -> None:
    """Hash what is held here now, and say what is wrong.

    Parameters
    ----------
    contents
        Content ids, with or without a path below them, or paths in the mount; of a folder what is
        here of the files in it [default: all that is shared or cached].
    json
        Print JSON instead, for scripts.
    """
    found = []
    with open_progress("verifying", unit="files") as progress:
        for one in follow("verify", Named([content_named(word) for word in contents]), Verified):
            found.append(one)
            progress.at(len(found))
    if json:
        write_json(Verification(found))
    else:
        write_table(_COLUMNS, found)
    wrong = sum(bool(one.wrong) for one in found)
    if wrong:
        raise IntegrityError(f"{counted(wrong, 'content')} of {len(found)} was wrong")
