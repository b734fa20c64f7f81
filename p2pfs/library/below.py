"""Everything in a directory and in the directories below it, as one list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.concurrency import deadline
from p2pfs.errors import MalformedError, NoSpaceError
from p2pfs.library.resolving import Kind

if TYPE_CHECKING:
    from p2pfs.content.cid import Cid
    from p2pfs.library.reading import Reading, Resolved

# Deeper than any real tree; of one that is, the rest can be named by its own content id.
_MAX_DEPTH = 64
# As many as a listing of directories brings at once, some 100 bytes each.
_MAX_CONTENTS = 100_000
# A person waits; each level of directories is a round trip or two.
_LOOK_SECONDS = 20


async def find_below(reading: Reading, cid: Cid, parts: tuple[str, ...]) -> list[Resolved]:
    """All that lies at `cid/part/…`; raises as `all_below`, and TimedOutError."""
    with deadline(_LOOK_SECONDS, f"listing all of {cid}"):
        return await all_below(reading, await reading.resolve(cid, parts))


async def all_below(reading: Reading, root: Resolved) -> list[Resolved]:
    """`root` itself, and if it is a directory all below it; raises as `Reading.children`.

    NoSpaceError for more than can be listed, MalformedError for a tree too deep.
    """
    found = level = [root]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for folder in level
            if folder.kind is Kind.DIRECTORY
            for child in (await reading.children(folder)).values()
        ]
        if not level:
            return found
        found = found + level
        if len(found) > _MAX_CONTENTS:
            raise NoSpaceError(f"{root.cid} holds over {_MAX_CONTENTS} files")
    raise MalformedError(f"{root.cid} is over {_MAX_DEPTH} directories deep")
