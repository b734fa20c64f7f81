"""What can be asked of a content: what it is, what is in it, and its bytes.

Fetching and checking is for `library.reading`; where bytes are saved, for `cli.saving`.
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import all_of, deadline
from p2pfs.content.cid import Cid, parse_cid
from p2pfs.control.asked import Asked, Child, LeafHash, Several, Wanted, What
from p2pfs.control.calls import Answering, Nothing, Streaming, Telling
from p2pfs.errors import MalformedError, NotFoundError, P2pfsError, UsageError
from p2pfs.library.names import entry_name
from p2pfs.library.resolving import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from p2pfs.content.walk import Leaf
    from p2pfs.control.calls import Endpoint
    from p2pfs.library.openfile import OpenFile
    from p2pfs.library.reading import Reading
    from p2pfs.library.resolving import Resolved

# A lookup takes 12 s at most, and then the root has to come.
_RESOLVE_SECONDS = 20
# Each part of a path is a block more; ten thousand children are a few hundred round trips.
_CHILDREN_SECONDS = 60
# Who copies a file waits longer for a chunk than who looks at it: 9 KB/s.
_PIECE_SECONDS = 30
_PIECE_BYTES = 256 << 10
# Each is a round trip or two; more would only wait for the same peers.
_BROUGHT_AT_ONCE = 32


def content_endpoints(reading: Reading) -> dict[str, Endpoint]:
    """What can be asked of contents."""
    contents = _Contents(reading)
    return {
        "resolve": Answering(Asked, contents.resolve),
        "children": Telling(Asked, contents.children),
        "bring": Answering(Several, contents.bring),
        "leaves": Telling(Wanted, contents.leaves),
        "read": Streaming(Wanted, _rest, contents.read),
    }


class _Contents:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def resolve(self, asked: Asked) -> What:
        return _what(await self._resolved(asked))

    async def children(self, asked: Asked) -> AsyncGenerator[Child, None]:
        folder = await self._resolved(asked)
        if folder.kind is not Kind.DIRECTORY:
            raise NotFoundError(f"{folder.cid} is a {folder.kind.value}, not a directory")
        with deadline(_CHILDREN_SECONDS, f"listing {folder.cid}"):
            found = await self._reading.children(folder)
        for name, child in found.items():
            yield Child(entry_name(name, child.cid), _what(child))

    async def bring(self, several: Several) -> Nothing:
        """Have them here, all at once; what is wrong with one is told when it is read."""
        limiter = trio.CapacityLimiter(_BROUGHT_AT_ONCE)

        async def bring(wanted: Wanted) -> None:
            async with limiter:
                with suppress(P2pfsError), trio.move_on_after(_PIECE_SECONDS):
                    file = await self._reading.open(_cid(wanted.cid), wanted.size)
                    try:
                        await file.bring(0, wanted.size)
                    finally:
                        file.close()

        await all_of(partial(bring, wanted) for wanted in several.files)
        return Nothing()

    async def leaves(self, wanted: Wanted) -> AsyncGenerator[LeafHash, None]:
        async with aclosing(self._reading.leaves(_cid(wanted.cid), wanted.size)) as leaves:
            async for leaf in leaves:
                yield LeafHash(leaf.start, leaf.stop, await self._sha256(leaf, wanted))

    async def read(self, wanted: Wanted) -> AsyncGenerator[bytes | bytearray, None]:
        file = await self._reading.open(_cid(wanted.cid), wanted.size)
        try:
            yield await _piece(file, wanted, wanted.start)
            for at in range(wanted.start + _PIECE_BYTES, wanted.size, _PIECE_BYTES):
                yield await _piece(file, wanted, at)
        finally:
            file.close()

    async def _sha256(self, leaf: Leaf, wanted: Wanted) -> str:
        """Of content alone; only of a raw leaf its CID says that."""
        if not leaf.framed and not leaf.cid.is_identity:
            return leaf.cid.digest.hex()
        file = await self._reading.open(_cid(wanted.cid), wanted.size)
        try:
            with deadline(_PIECE_SECONDS, f"byte {leaf.start} of {wanted.cid}"):
                return sha256(await file.read(leaf.start, leaf.stop - leaf.start)).hexdigest()
        finally:
            file.close()

    async def _resolved(self, asked: Asked) -> Resolved:
        with deadline(_RESOLVE_SECONDS, f"looking up {asked.cid}"):
            return await self._reading.resolve(_cid(asked.cid), tuple(asked.path))


async def _piece(file: OpenFile, wanted: Wanted, at: int) -> bytes | bytearray:
    with deadline(_PIECE_SECONDS, f"byte {at} of {wanted.cid}"):
        return await file.read(at, _PIECE_BYTES)


def _rest(wanted: Wanted) -> int:
    if not 0 <= wanted.start <= wanted.size:
        raise UsageError(f"{wanted.cid} has no byte {wanted.start}")
    return wanted.size - wanted.start


def _cid(text: str) -> Cid:
    try:
        return parse_cid(text)
    except MalformedError as error:
        raise UsageError(f"{text!r} is no content id") from error


def _what(found: Resolved) -> What:
    return What(found.kind.value, str(found.cid), found.size, found.target)
