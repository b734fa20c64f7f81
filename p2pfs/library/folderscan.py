"""What lies in a folder that is published, compared with what was hashed of it.

Blocking, and only looks: what follows from a difference is for `ingest`.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2pfs.library.exclusions import IGNORE_FILE, MAX_IGNORE_BYTES, exclusion, parse_ignore_file
from p2pfs.store.files import exact_stamp_of, stamp_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from p2pfs.library.exclusions import Pattern
    from p2pfs.store.files import ExactStamp, Stamp

# As deep as a path of PATH_MAX can go.
_MAX_DEPTH = 2_048

Ignores = dict[bytes, tuple["Pattern", ...]]


@dataclass(slots=True)
class Scan:
    """`fresh` is there and not as it was hashed, `gone` was hashed and is not there."""

    fresh: list[bytes] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    ignores: Ignores = field(default_factory=dict)


def scan_folder(folder: Path, below: bytes, known: Mapping[bytes, ExactStamp]) -> Scan:
    """Compare everything below a folder ("" for all of it) with what is known there.

    Files that are not published are left out, as are those that cannot be looked at.
    """
    scan = Scan()
    if below:
        scan.ignores |= _ignores_above(folder, below)
    missing = {path for path in known if _is_below(path, below)}
    for path, entry in _walk(folder, below, scan.ignores):
        missing.discard(path)
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and known.get(path) != exact_stamp_of(status):
            scan.fresh.append(path)
    scan.gone = sorted(missing)
    return scan


@dataclass(slots=True)
class FolderEntries:
    """What of a directory is published, by name; or why it is not published itself."""

    files: dict[bytes, Stamp] = field(default_factory=dict)
    folders: list[bytes] = field(default_factory=list)
    excluded: str = ""


def list_folder(folder: Path, path: bytes) -> FolderEntries | None:
    """What a directory below the folder holds itself; None if there is none."""
    found = look_at(folder, path)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return None
    ignores = _ignores_above(folder, path + b"/-")
    above = {at: patterns for at, patterns in ignores.items() if at != path}
    listed = FolderEntries(excluded=_folder_exclusion(path, above) or "")
    for entry in () if listed.excluded else _entries(folder, path):
        below = path + b"/" + entry.name
        if _is_folder(entry):
            if _folder_exclusion(below, ignores) is None:
                listed.folders.append(entry.name)
        elif exclusion(below, ignores) is None:
            status = look_at(folder, below)
            if status is not None and stat.S_ISREG(status.st_mode):
                listed.files[entry.name] = stamp_of(status)
    return listed


def list_folders(folder: Path, starts: Iterable[bytes]) -> dict[bytes, Stamp]:
    """All directories at these paths and below, but hidden ones and the folder itself.

    A stamp is another after any entry came or went.
    """
    found = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path:
            status = look_at(folder, path)
            if status is None or not stat.S_ISDIR(status.st_mode):
                continue
            found[path] = stamp_of(status)
        for entry in _entries(folder, path):
            if _is_folder(entry) and not entry.name.startswith(b"."):
                below = path + b"/" + entry.name if path else entry.name
                if below.count(b"/") < _MAX_DEPTH:
                    waiting.append(below)
    return found


def folders_among(folder: Path, paths: Iterable[bytes]) -> set[bytes]:
    """Which of these paths are directories."""
    found = ((path, look_at(folder, path)) for path in paths)
    return {path for path, status in found if status and stat.S_ISDIR(status.st_mode)}


def look_at(folder: Path, path: bytes) -> os.stat_result | None:
    """What is at a path, a link itself and not what it points to; None if there is nothing."""
    try:
        return os.lstat(os.path.join(os.fsencode(folder), path))
    except OSError:
        return None


def look_closely(
    folder: Path, paths: Iterable[bytes]
) -> tuple[dict[bytes, os.stat_result | None], Ignores]:
    """The same of many, and the patterns of every directory above them as they are now.

    What is found behind a link on the way is that link, whatever it leads to.
    """
    found = {path: look_at(folder, path) for path in paths}
    above = {directory for path in found for directory in _above(path)}
    links = _links(folder, above)
    for path in found if links else ():
        found[path] = next((links[at] for at in _above(path) if at in links), found[path])
    return found, {directory: _patterns(folder, directory) for directory in above}


def special_kind(found: os.stat_result | None) -> str | None:
    """What something is that is there and no regular file; None for all else."""
    if found is None or stat.S_ISREG(found.st_mode):
        return None
    if stat.S_ISDIR(found.st_mode):
        return "a folder"
    return "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a special file"


def _walk(
    folder: Path, below: bytes, ignores: Ignores
) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    waiting = [below]
    while waiting:
        directory = waiting.pop()
        entries = list(_entries(folder, directory))
        if any(entry.name == IGNORE_FILE for entry in entries):
            ignores[directory] = _patterns(folder, directory)
        for entry in entries:
            path = directory + b"/" + entry.name if directory else entry.name
            if _is_folder(entry):
                if not entry.name.startswith(b".") and path.count(b"/") < _MAX_DEPTH:
                    waiting.append(path)
            elif exclusion(path, ignores) is None:
                yield path, entry


def _folder_exclusion(path: bytes, ignores: Ignores) -> str | None:
    """As for a file in it: only files are temporary by their names."""
    return exclusion(path + b"/-", ignores)


def _links(folder: Path, directories: Iterable[bytes]) -> dict[bytes, os.stat_result]:
    """Those that are links; the folder itself may be one."""
    found = {directory: look_at(folder, directory) for directory in directories if directory}
    return {at: status for at, status in found.items() if status and stat.S_ISLNK(status.st_mode)}


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # where the directory does not tell the type, this is a stat
        return False


def _entries(folder: Path, directory: bytes) -> Iterable[os.DirEntry[bytes]]:
    try:
        with os.scandir(os.path.join(os.fsencode(folder), directory)) as entries:
            return list(entries)
    except OSError:
        return ()


def _ignores_above(folder: Path, below: bytes) -> Ignores:
    return {directory: _patterns(folder, directory) for directory in _above(below)}


def _above(path: bytes) -> Iterator[bytes]:
    """Every directory above a path, the folder itself first."""
    parts = path.split(b"/")
    return (b"/".join(parts[:depth]) for depth in range(len(parts)))


def _patterns(folder: Path, directory: bytes) -> tuple[Pattern, ...]:
    path = os.path.join(os.fsencode(folder), directory, IGNORE_FILE)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        # A folder or a FIFO may have that name too.
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        return parse_ignore_file(os.read(fd, MAX_IGNORE_BYTES)) if is_file else ()
    except OSError:
        return ()
    finally:
        os.close(fd)


def _is_below(path: bytes, directory: bytes) -> bool:
    return not directory or path.startswith(directory + b"/")
