"""`p2pfs publish` and `p2pfs unpublish`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from p2pfs.cli.contents import Word, content_id_of
from p2pfs.cli.control import ask, follow, running_status
from p2pfs.cli.owntags import tags_given, tell_spelling
from p2pfs.cli.printing import write_json, write_table
from p2pfs.cli.progress import open_progress
from p2pfs.control.asked import PublishedPath, PublishedPaths, ToAwait, ToPublish, ToUnpublish
from p2pfs.control.calls import Nothing
from p2pfs.errors import P2pfsError, UsageError
from p2pfs.status import said_alone, state_style
from p2pfs.text import Column, counted, printable

_COLUMNS: list[Column[PublishedPath]] = [
    Column("CONTENT ID", lambda path: path.cid, style=lambda _: "dim"),
    Column("FILES", lambda path: path.files, align="right"),
    Column("PUBLISHED", lambda path: path.published, align="right"),
    Column("STATE", lambda path: path.state, style=lambda path: state_style(path.state)),
    Column("PATH", lambda path: path.path),
]
# A slow disk may have to start up before it tells whether a path can be read.
_ANSWER_SECONDS = 30


def publish(
    *paths: Annotated[Path, Parameter(allow_leading_hyphen=False)],
    tag: tuple[str, ...] = (),
    wait: bool = False,
    json: bool = False,
) -> None:
    """Serve files and folders from where they lie, without a copy.

    Parameters
    ----------
    paths
        Files and folders [default: list what is published so].
    tag
        A tag for all files there, besides those they have anyway; may be given more than once.
    wait
        Wait until others can find them; without any other node for 30 s it fails.
    json
        Print JSON instead, for scripts.
    """
    if not paths and (tag or wait):
        raise UsageError("publish what? Name files or folders")
    if not paths:
        _write(ask("published", Nothing(), PublishedPaths), json=json)
        return
    resolved = [_resolved(path) for path in paths]
    tags = tags_given(tag)
    told = [
        ask("publish", ToPublish(path, tags), PublishedPath, _ANSWER_SECONDS) for path in resolved
    ]
    tell_spelling(tags)
    answer = _awaited(resolved) if wait else PublishedPaths(told)
    _write(answer, json=json)
    if wait:
        _demand_all(answer)


def unpublish(*contents: Annotated[Word, Parameter(allow_leading_hyphen=False)]) -> None:
    """Serve files and folders no longer that were published where they lie.

    Parameters
    ----------
    contents
        Their paths, or content ids.
    """
    if not contents:
        raise UsageError("unpublish what? `p2pfs publish` lists what is published")
    for word in contents:
        as_named = os.path.abspath(word)
        paths = dict.fromkeys((os.path.realpath(word), as_named))
        asked = ToUnpublish([os.fsencode(path) for path in paths], content_id_of(word) or "")
        gone = ask("unpublish", asked, PublishedPath, _ANSWER_SECONDS)
        print(printable(gone.path))


def _awaited(paths: list[bytes]) -> PublishedPaths:
    """How they stand when there is nothing to wait for any more."""
    answer = PublishedPaths([])
    try:
        with open_progress("publishing", unit="files") as progress:
            for answer in follow("await", ToAwait(paths), PublishedPaths):
                done = sum(path.published for path in answer.paths)
                progress.at(done, sum(path.files for path in answer.paths) or None)
    except KeyboardInterrupt:
        print("p2pfs: no longer waiting; it goes on being published", file=sys.stderr)
        raise
    return answer


def _demand_all(answer: PublishedPaths) -> None:
    failed = [path for path in answer.paths if path.state != "published"]
    if failed:
        what = counted(len(failed), "path")
        raise P2pfsError(f"{what} cannot be published: {failed[0].path}: {failed[0].state}")


def _write(answer: PublishedPaths, *, json: bool) -> None:
    if json:
        write_json(answer)
        return
    write_table(_COLUMNS, answer.paths)
    alone = said_alone(running_status()) if sys.stderr.isatty() and answer.paths else ""
    if alone:
        print(f"p2pfs: {alone}", file=sys.stderr)


def _resolved(path: Path) -> bytes:
    """Where it really lies, which is said if that is elsewhere."""
    found = os.path.realpath(path)
    if found != os.path.abspath(path):
        print(f"p2pfs: {printable(str(path))} leads to {printable(found)}", file=sys.stderr)
    return os.fsencode(found)
