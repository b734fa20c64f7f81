"""`p2pfs tag`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from p2pfs.cli.control import ask
from p2pfs.cli.owntags import tags_given, tell_spelling
from p2pfs.cli.printing import write_json
from p2pfs.text import printable


def tag(
    path: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *tags: Annotated[str, Parameter(allow_leading_hyphen=False)],
    json: bool = False,
) -> None:
    """Show the tags of a file in share/, or set them.

    Parameters
    ----------
    path
        A file in the mount's share/, or in the real folder behind it.
    tags
        What it is to be found under, instead of what its metadata and its type give.
    json
        Print JSON instead, for scripts.
    """
    from p2pfs.control.owned import Tagged, Tagging  # late: trio comes with it

    given = tags_given(tags)
    tagged = ask("tag", Tagging(_resolved(path), given), Tagged)
    tell_spelling(given)
    if json:
        write_json(tagged)
    elif not tags:
        for one in tagged.tags:
            print(printable(one))


def _resolved(path: Path) -> bytes:
    """The way to it without links; a link at its end is what is meant."""
    above, name = os.path.split(os.path.abspath(path))
    return os.fsencode(os.path.join(os.path.realpath(above), name))
