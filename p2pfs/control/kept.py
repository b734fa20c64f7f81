"""`pin`, `unpin`, `pins`, `verify`, `gc`: what is kept here, and whether it is right.

Keeping and hashing are for `library`, showing it to a person for `cli`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from p2pfs.content.cid import parse_cid
from p2pfs.control.calls import Answering, Nothing, Telling
from p2pfs.errors import MalformedError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection

    from p2pfs.content.cid import Cid
    from p2pfs.control.calls import Endpoint
    from p2pfs.library.pinning import Pinning
    from p2pfs.library.resolving import Resolved
    from p2pfs.library.upkeep import Upkeep, Verdict

# A bar moves smoothly, and a large pin tells some thousand lines, not millions.
_TOLD_STEPS = 1_000


class Unpinned(msgspec.Struct, frozen=True):
    """What is not pinned any more; `unpin --json` prints exactly this, fields are only added."""

    contents: list[str]


class Named(msgspec.Struct, frozen=True):
    """Content ids, each perhaps with a path below it: `CID[/path]`."""

    contents: list[str]


class PinProgress(msgspec.Struct, frozen=True):
    """How far fetching has come, in bytes of all that belongs to it; the last one is the end."""

    cid: str
    done: int
    size: int
    files: int


class PinnedContent(msgspec.Struct, frozen=True):
    """A pin: how many contents and bytes belong to it, and how many bytes of them are here."""

    cid: str
    contents: int
    size: int
    present: int


class PinList(msgspec.Struct, frozen=True):
    """`pin --json` without a content id prints exactly this; fields are only ever added."""

    pins: list[PinnedContent]


class Verified(msgspec.Struct, frozen=True):
    """A content that was hashed: bytes that were here and right; `wrong` is empty if all were."""

    cid: str
    size: int
    checked: int
    wrong: str


class Collected(msgspec.Struct, frozen=True):
    """What `gc` has freed: bytes of disk, and contents, files and rows.

    `gc --json` prints exactly this; fields are only ever added.
    """

    freed: int
    removed: int


def pin_endpoints(pinning: Pinning) -> dict[str, Endpoint]:
    """What can be asked of pins."""

    async def pin(named: Named) -> AsyncGenerator[PinProgress, None]:
        for one in named.contents:
            told = -1
            async for at in pinning.pin(*_parsed(one)):
                if told < 0 or at.done == at.size or at.done - told >= at.size // _TOLD_STEPS:
                    told = at.done
                    yield PinProgress(str(at.cid), at.done, at.size, at.files)

    async def unpin(named: Named) -> Unpinned:
        return Unpinned([str(await pinning.unpin(*_parsed(one))) for one in named.contents])

    async def pins(_: Nothing) -> PinList:
        return PinList(
            [
                PinnedContent(str(pin.cid), len(pin.contents), pin.size, present)
                for pin, present in pinning.all()
            ]
        )

    return {
        "pin": Telling(Named, pin),
        "unpin": Answering(Named, unpin),
        "pins": Answering(Nothing, pins),
    }


def upkeep_endpoints(
    upkeep: Upkeep, below: Callable[[Cid, tuple[str, ...]], Awaitable[list[Resolved]]]
) -> dict[str, Endpoint]:
    """What can be asked of what is held; `below` finds all that lies at a path."""

    async def verify(named: Named) -> AsyncGenerator[Verified, None]:
        held = upkeep.held()
        chosen = [cid for one in named.contents for cid in await chosen_of(one, held)]
        for cid in dict.fromkeys(chosen) if named.contents else held:
            yield _verified(await upkeep.verify(cid, held[cid]))

    async def chosen_of(one: str, held: Collection[Cid]) -> list[Cid]:
        """What is here of a file, or of a directory's files."""
        cid, parts = _parsed(one)
        if not parts and cid.v1 in held:
            return [cid.v1]
        here = [found.cid.v1 for found in await below(cid, parts) if found.cid.v1 in held]
        if not here:
            raise NotFoundError(f"nothing of {one} is here")
        return here

    async def gc(_: Nothing) -> Collected:
        return Collected(*await upkeep.collect())

    return {"verify": Telling(Named, verify), "gc": Answering(Nothing, gc)}


def _parsed(text: str) -> tuple[Cid, tuple[str, ...]]:
    cid, *parts = text.split("/")
    try:
        return parse_cid(cid), tuple(part for part in parts if part)
    except MalformedError as error:
        raise UsageError(f"{cid} is no content id: {error}") from error


def _verified(verdict: Verdict) -> Verified:
    return Verified(str(verdict.cid), verdict.size, verdict.checked_bytes, verdict.wrong)
