"""`p2pfs pin` and `p2pfs unpin`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from p2pfs.cli.contents import Word, asked_of, content_named
from p2pfs.cli.control import ask, follow
from p2pfs.cli.printing import write_json, write_table
from p2pfs.cli.progress import open_progress
from p2pfs.control.calls import Nothing
from p2pfs.control.kept import Named, PinList, PinnedContent, PinProgress, Unpinned
from p2pfs.errors import UsageError
from p2pfs.text import Column, counted, human_bytes, printable

_COLUMNS: list[Column[PinnedContent]] = [
    Column("CONTENT ID", lambda pin: pin.cid, style=lambda _: "dim"),
    Column("SIZE", lambda pin: pin.size, lambda pin: human_bytes(pin.size), "right"),
    Column("HERE", lambda pin: pin.present, lambda pin: human_bytes(pin.present), "right"),
    Column("CONTENTS", lambda pin: pin.contents, align="right"),
]


def pin(
    *contents: Annotated[Word, Parameter(allow_leading_hyphen=False)],
    json: bool = False,
) -> None:
    """Fetch files or directories whole, and keep them until they are unpinned.

    Parameters
    ----------
    contents
        Content ids, with or without a path below them, or paths in the mount.
    json
        Print JSON instead, for scripts: one line for each, or the list.
    """
    if not contents:
        pins = ask("pins", Nothing(), PinList)
        if json:
            write_json(pins)
        else:
            write_table(_COLUMNS, pins.pins)
        return
    wanted = [asked_of(word) for word in contents]  # all of them, before any is fetched
    for number, (asked, name) in enumerate(wanted, 1):
        named = "/".join((asked.cid, *asked.path))
        done = _fetch(named, name if len(wanted) == 1 else f"{number}/{len(wanted)} {name}")
        if json:
            write_json(done)
        elif sys.stdout.isatty():
            size, files = human_bytes(done.size), counted(done.files, "file")
            print(printable(f"{name} is pinned, {size} in {files}"))
        else:
            print(f"{done.cid}\t{done.size}")


def unpin(
    *contents: Annotated[Word, Parameter(allow_leading_hyphen=False)],
    json: bool = False,
) -> None:
    """Let the cache drop what was pinned when it needs the room.

    Parameters
    ----------
    contents
        Content ids, with or without a path below them, or paths in the mount.
    json
        Print JSON instead, for scripts: what is not pinned any more.
    """
    if not contents:
        raise UsageError("unpin what? `p2pfs pin` lists what is pinned")
    done = ask("unpin", Named([content_named(word) for word in contents]), Unpinned)
    if json:
        write_json(done)


def _fetch(named: str, shown: str) -> PinProgress:
    last = PinProgress(named, 0, 0, 0)
    try:
        with open_progress(shown) as progress:
            for last in follow("pin", Named([named]), PinProgress):
                progress.at(last.done, last.size)
    except KeyboardInterrupt:
        said = "p2pfs: no longer waiting; what `p2pfs pin` lists goes on coming"
        print(said, file=sys.stderr)
        raise
    return last
