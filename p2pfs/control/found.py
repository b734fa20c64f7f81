"""What a search over the control socket answers: values, and their JSON.

Finding is for `library.searching`, showing it to a person for `cli.search`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from p2pfs.identity import peer_id

if TYPE_CHECKING:
    from p2pfs.library.listings import ListedFile, Listing


class FoundFile(msgspec.Struct, frozen=True):
    """One content; `name` is safe to print, `publishers` and `providers` are peer ids.

    `published` is in UNIX seconds, `crc32` is 8 hexadecimal digits.
    """

    name: str
    cid: str
    size: int
    mime: str
    crc32: str
    tags: list[str]
    published: int
    publishers: list[str]
    providers: list[str]


class Found(msgspec.Struct, frozen=True):
    """The files, best first; `complete` unless the network had not answered in time.

    `search --json` prints exactly this; fields are only ever added.
    """

    complete: bool
    files: list[FoundFile]


class Refused(msgspec.Struct, frozen=True):
    """Why a search cannot mean anything."""

    error: str


def found_in(listing: Listing, *, complete: bool) -> Found:
    """A listing as the command line gets it."""
    return Found(complete, [_file(name, file) for name, file in listing.entries.items()])


def encode_answer(answer: Found | Refused) -> bytes:
    """JSON, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"


def parse_found(raw: bytes) -> Found:
    """The inverse of `encode_answer`; raises msgspec.MsgspecError."""
    return msgspec.json.decode(raw, type=Found)


def parse_refused(raw: bytes) -> Refused:
    """The inverse of `encode_answer`; raises msgspec.MsgspecError."""
    return msgspec.json.decode(raw, type=Refused)


def _file(name: str, file: ListedFile) -> FoundFile:
    return FoundFile(
        name=name,
        cid=str(file.cid),
        size=file.size,
        mime=file.mime,
        crc32=f"{file.crc32:08x}",
        tags=list(file.tags),
        published=file.published,
        publishers=[peer_id(key) for key in file.publishers if key],
        providers=[peer_id(provider.public_key) for provider in file.providers],
    )
