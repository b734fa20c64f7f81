"""`search`: what a search over the control socket asks and answers.

Finding is for `library.searching`, showing it to a person for `cli.search`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from p2pfs.control.calls import Answering
from p2pfs.errors import MalformedError, UsageError
from p2pfs.identity import peer_id
from p2pfs.library.searching import search_key

if TYPE_CHECKING:
    from p2pfs.control.calls import Endpoint
    from p2pfs.library.listings import ListedFile, Listing
    from p2pfs.library.searching import Searches

# A person at a prompt waits longer for the whole answer than `ls` may; then what is known is told.
_SEARCH_SECONDS = 5


class Sought(msgspec.Struct, frozen=True):
    """Words of a name or title, and tags in any spelling; all must hold."""

    words: list[str]
    tags: list[str]


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


def search_endpoints(searches: Searches) -> dict[str, Endpoint]:
    """What can be asked of the searches."""

    async def search(sought: Sought) -> Found:
        try:
            key = search_key(" ".join(sought.words), sought.tags)
        except MalformedError as error:
            raise UsageError(str(error)) from error
        with trio.move_on_after(_SEARCH_SECONDS):
            await searches.refresh(key)
        return found_in(searches.listing(key), complete=searches.is_fresh(key))

    return {"search": Answering(Sought, search)}


def found_in(listing: Listing, *, complete: bool) -> Found:
    """A listing as the command line gets it."""
    return Found(complete, [_file(name, file) for name, file in listing.entries.items()])


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
        providers=[peer_id(one.public_key) for one in file.providers if one.public_key],
    )
