"""`p2pfs cid`: what `ipfs add --only-hash --cid-version=1` would print."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

from cyclopts import Parameter

from p2pfs.content.balanced import PROFILES, Profile, build_file
from p2pfs.content.directory import build_directory
from p2pfs.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import RawIOBase

    from p2pfs.content.cid import Cid

ChunkSize = Literal["256K", "512K", "1M"]
_CHUNK_BYTES: dict[str, int] = {"256K": 256 << 10, "512K": 512 << 10, "1M": 1 << 20}


def cid(
    path: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    chunk_size: ChunkSize | None = None,
    profile: str | None = None,
) -> None:
    """Print a file's or a folder's content id; nothing is published and no node is needed.

    Parameters
    ----------
    path
        A file, a folder, or - for standard input.
    chunk_size
        Bytes a chunk [default: the profile's].
    profile
        The import profile, by its name.
    """
    if str(path) == "-":
        print(_file(sys.stdin.buffer, _profile(profile, chunk_size))[0])
        return
    try:
        print(_tree(path, _profile(profile, chunk_size))[0], path, sep="  ")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {error.filename}") from error
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error


def _profile(name: str | None, chunk_size: str | None) -> Profile:
    if name is not None and name not in PROFILES:
        raise UsageError(f"there is no profile {name!r}; there are: {', '.join(PROFILES)}")
    profile = PROFILES[name or "default"]
    return replace(profile, chunk_bytes=_CHUNK_BYTES[chunk_size]) if chunk_size else profile


def _tree(path: Path, profile: Profile) -> tuple[Cid, int]:
    """The CID of a file or folder, and the bytes of all its blocks; hidden entries are left out."""
    if not path.is_dir():
        with path.open("rb", buffering=0) as file:
            return _file(file, profile)
    visible = (entry for entry in path.iterdir() if not entry.name.startswith("."))
    regular = (entry for entry in visible if entry.is_dir() or entry.is_file())
    built = build_directory(((entry.name, *_tree(entry, profile)) for entry in regular), profile)
    return built.cid, built.tsize


def _file(file: RawIOBase | BinaryIO, profile: Profile) -> tuple[Cid, int]:
    built = build_file(_chunks(file, profile.chunk_bytes), profile)
    return built.cid, built.tsize


def _chunks(file: RawIOBase | BinaryIO, size: int) -> Iterator[bytes]:
    """Chunks of `size` bytes, the last perhaps less; a pipe gives what it has, not what we ask."""
    while True:
        chunk = b""
        while len(chunk) < size and (more := file.read(size - len(chunk))):
            chunk += more
        if not chunk:
            return
        yield chunk
