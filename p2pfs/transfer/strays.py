"""Chunks that nobody gives who has the file: from whoever has them in another one.

Last of all, since each costs a lookup of its own; when it has come to that, `download` says.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.content.cid import RAW
from p2pfs.content.walk import Leaf
from p2pfs.errors import MalformedError, NoSpaceError, P2pfsError
from p2pfs.transfer.anyone import fetch_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from p2pfs.content.cid import Cid
    from p2pfs.dht.overlay import Provider
    from p2pfs.peers.client import Client
    from p2pfs.store.object import Object
    from p2pfs.transfer.landing import Landing
    from p2pfs.transfer.run import Span
    from p2pfs.transfer.search import FindProviders

    # Who is known to have a content, and how to find more.
    Whereabouts = Callable[[Cid], tuple[list[Provider], FindProviders]]

_log = logging.getLogger(__name__)

# A lookup and a request each, beside which all else goes on.
_AT_ONCE = 4
# What could not be had is looked for again when somebody asks for it after that.
_AGAIN_SECONDS = 30.0
# Who gave one chunk may well have its neighbours.
_REMEMBERED_PROVIDERS = 4


class Strays:
    """Of one object.  Everything but `fetch` is immediate.

    Each leaf that was taken is under way until it is `ended`, whether or not it was fetched.
    """

    def __init__(self, held: Object, client: Client, whereabouts: Whereabouts) -> None:
        self._object = held
        self._client = client
        self._whereabouts = whereabouts
        self._sought_at: dict[int, float] = {}
        self._under_way: set[int] = set()
        self._met: dict[bytes, Provider] = {}

    def take(self, missing: Iterable[Span], now: float) -> list[Leaf]:
        """The leaves to bring now, out of what is missing and nobody else will give."""
        taken: list[Leaf] = []
        for leaf in self._raw_leaves(missing):
            if len(self._under_way) >= _AT_ONCE:
                break
            sought_at = self._sought_at.get(leaf.start)
            if leaf.start not in self._under_way and (
                sought_at is None or now >= sought_at + _AGAIN_SECONDS
            ):
                self._under_way.add(leaf.start)
                taken.append(leaf)
        return taken

    @property
    def are_under_way(self) -> bool:
        """Whether there is still something to be hoped for."""
        return bool(self._under_way)

    async def fetch(self, leaf: Leaf, sink: Landing) -> None:
        """Write one that was taken, if anybody has it."""
        try:
            known, find = self._whereabouts(leaf.cid)
            known = [*self._met.values(), *known]
            block = await fetch_block(self._client, leaf.cid, known, partial(self._find, find))
            if len(block) == leaf.stop - leaf.start:
                await trio.to_thread.run_sync(sink.write, leaf.start, memoryview(block))
                sink.landed(leaf.start, leaf.stop)
        except NoSpaceError:
            raise
        except P2pfsError as error:
            _log.debug("the chunk %s is nowhere else: %s", leaf.cid, error)

    def ended(self, leaf: Leaf, now: float) -> None:
        """It was brought, or could not be."""
        self._sought_at[leaf.start] = now
        self._under_way.discard(leaf.start)

    async def _find(self, find: FindProviders, found: Callable[[Provider], None]) -> None:
        def note(provider: Provider) -> None:
            if len(self._met) < _REMEMBERED_PROVIDERS:
                self._met[provider.public_key] = provider
            found(provider)

        await find(note)

    def _raw_leaves(self, missing: Iterable[Span]) -> Iterator[Leaf]:
        """As far as their nodes are known."""
        try:
            for start, stop in missing:
                for found in self._object.leaves(start, stop):
                    if isinstance(found, Leaf) and found.cid.codec == RAW:
                        yield found
        except MalformedError:  # a size that cannot be: whoever fetches it will say so
            return
