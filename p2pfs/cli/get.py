"""`p2pfs get`."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import PurePosixPath
from typing import Annotated

from cyclopts import Parameter

from p2pfs.cli.contents import Word, asked_of
from p2pfs.cli.control import ask, follow
from p2pfs.cli.progress import Progress, open_progress, open_wait
from p2pfs.cli.saving import (
    Folder,
    content_from,
    open_folder,
    part_name,
    replace_file,
    save_file,
)
from p2pfs.control.asked import Asked, Child, Several, Wanted, What
from p2pfs.control.calls import Nothing
from p2pfs.errors import ExistsError, NotFoundError, P2pfsError, UsageError
from p2pfs.text import counted, human_bytes, is_printable, printable

# The node looks for 20 s, and says so itself then.
_RESOLVE_SECONDS = 30
_STDOUT = "-"
# Files fetched together; of a larger one the round trips before its first byte do not count.
_FILES_AT_ONCE = 32
_SMALL_BYTES = 1 << 20
# The node gives each of them 30 s.
_BRING_SECONDS = 40
# Real trees are far from this; each folder on the way down is an open descriptor.
_MAX_DEPTH = 100
_NO_TEXT = "this is no text for a terminal; save it with -o FILE, or send it through a pipe"

SaveFile = Callable[[Folder, str, Wanted, Callable[[int], None]], None]


def get(
    content: Annotated[Word, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    output: Annotated[
        Word | None, Parameter(name=["--output", "-o"], allow_leading_hyphen=True)
    ] = None,
    force: bool = False,
) -> None:
    """Save a file or a whole directory of the network.

    What was stopped half-way is resumed by the same command: until it is whole, a file or folder is
    called NAME~ID.part. Existing files are left as they are; the same content is not fetched twice.
    Symbolic links are made if they lead to what is beside or below them, else named and left out.

    Parameters
    ----------
    content
        A content id, CID/path, ipfs://CID/path, or the path of something in the mount.
    output
        The file or folder to save it as, an existing folder to save it in, or - for standard
        output [default: in this folder, by its last name].
    force
        Replace files that have other content.
    """
    asked, name = asked_of(content)
    with open_wait(f"looking for {name}"):
        what = ask("resolve", asked, What, _RESOLVE_SECONDS)
    if output == _STDOUT:
        _print(what)
        return
    place, name = _target(str(output or "."), name)
    folder = open_folder(place)
    try:
        with open_progress(name, what.size or None) as progress:
            copy = _Copy(progress, replace_file if force else save_file)
            copy.save(folder, name, what)
    except KeyboardInterrupt:
        print("p2pfs: stopped; the same command goes on from here", file=sys.stderr)
        raise
    finally:
        folder.close()
    copy.tell(os.path.join(place, name))


def _target(output: str, name: str) -> tuple[str, str]:
    """The folder to save in, and the name there."""
    if os.path.isdir(output):
        return output, name
    place, last = os.path.split(output.rstrip("/"))
    if not os.path.isdir(place or "."):
        raise NotFoundError(f"there is no folder {place}")
    return place or ".", last


class _Copy:
    """One run of the command: what it has saved, and what it had to leave out."""

    def __init__(self, progress: Progress, save: SaveFile) -> None:
        self._progress = progress
        self._save_file = save
        self._done = 0
        self._total = 0
        self._left_out = 0

    def save(self, folder: Folder, name: str, what: What) -> None:
        """All of it; raises ExistsError if something else has the name."""
        self._total += what.size if what.kind == "file" else 0
        self._save(folder, name, what, 0)

    def tell(self, path: str) -> None:
        """The end of it: a line for who watches; raises P2pfsError if anything was left out."""
        if self._left_out:
            entries = counted(self._left_out, "entry", "entries")
            raise P2pfsError(f"{path} is there, but for the {entries} named above")
        if sys.stderr.isatty():
            print(printable(f"{path}: {human_bytes(self._done)}"), file=sys.stderr)

    def _save(self, folder: Folder, name: str, what: What, depth: int) -> None:
        self._progress.name(name)
        if what.kind == "file":
            self._save_file(folder, name, Wanted(what.cid, what.size), self._at)
            self._done += what.size
        elif what.kind == "symlink":
            self._link(folder, name, what.target)
        elif depth < _MAX_DEPTH:
            self._save_folder(folder, name, what, depth)
        else:
            raise P2pfsError(f"{folder.path_of(name)} is over {_MAX_DEPTH} folders deep")

    def _save_folder(self, parent: Folder, name: str, what: What, depth: int) -> None:
        children = list(follow("children", Asked(what.cid), Child))
        self._total += sum(child.what.size for child in children if child.what.kind == "file")
        is_new = depth == 0 and parent.stat(name) is None
        # Else the same command would take what it has made for a folder to save in.
        begun = part_name(name, what.cid) if is_new else name
        with closing(parent.below(begun, name)) as folder:
            for number, child in enumerate(children):
                if number % _FILES_AT_ONCE == 0:
                    _bring_small(folder, children[number : number + _FILES_AT_ONCE])
                try:
                    self._save(folder, child.name, child.what, depth + 1)
                except ExistsError as error:
                    self._leave_out(str(error))
        if is_new:
            parent.rename(begun, name)

    def _link(self, folder: Folder, name: str, target: str) -> None:
        if _stays_below(target):
            folder.link(name, target)
        else:
            self._leave_out(f"{folder.path_of(name)} is a link to {target}, which is left out")

    def _leave_out(self, why: str) -> None:
        self._left_out += 1
        self._progress.say(f"p2pfs: {why}")

    def _at(self, done: int) -> None:
        self._progress.at(self._done + done, self._total)


def _bring_small(folder: Folder, children: list[Child]) -> None:
    """Have the node fetch these at once, else each would wait for the one before."""
    files = [
        Wanted(child.what.cid, child.what.size)
        for child in children
        if child.what.kind == "file"
        and child.what.size <= _SMALL_BYTES
        and folder.stat(child.name) is None
    ]
    if len(files) > 1:
        ask("bring", Several(files), Nothing, _BRING_SECONDS)


def _stays_below(target: str) -> bool:
    """Whether a link cannot lead out of its folder, whatever other such links are on the way."""
    path = PurePosixPath(target)
    return not path.is_absolute() and ".." not in path.parts and all(map(is_printable, target))


def _print(what: What) -> None:
    """To standard output; a terminal gets text only."""
    if what.kind != "file":
        raise UsageError(f"{what.cid} is a {what.kind}; only a file can go to standard output")
    pieces = content_from(Wanted(what.cid, what.size))
    if sys.stdout.isatty():
        for text in _checked_text(pieces):
            sys.stdout.write(text)
        return
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _checked_text(pieces: Iterator[bytes]) -> Iterator[str]:
    """Raises UsageError for what would do more to a terminal than be read there."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for piece in pieces:
        try:
            text = decoder.decode(piece)
        except UnicodeDecodeError as error:
            raise UsageError(_NO_TEXT) from error
        if not all(is_printable(character) or character in "\n\t\r" for character in text):
            raise UsageError(_NO_TEXT)
        yield text
