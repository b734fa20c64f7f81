"""One block from whoever has it, as soon as can be: roots, directories.

Files come through `download`; what a block says is for `library.resolving`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from p2pfs.addresses import prefix_group
from p2pfs.concurrency import open_nursery
from p2pfs.dht.overlay import Provider
from p2pfs.errors import P2pfsError
from p2pfs.transfer.failure import why_not

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2pfs.content.cid import Cid
    from p2pfs.peers.client import Client
    from p2pfs.transfer.search import FindProviders

# The next peer is asked beside one that has not answered by then: twice a long round trip, and
# what a connection costs.
_NEXT_PEER_SECONDS = 0.3
# More are looked for beside those known, when they have had their chance.
_LOOKUP_SECONDS = 1.0
# A root can have hundreds of providers: of one /24 (v6: /48) so many are asked, and some more once
# all others were.  Whoever announces a root from one machine, as many times as he likes, keeps
# nobody from those that have it.
_MOST_NARROW, _MOST_MORE = 4, 32
# If so many fail, the block is at fault.
_MOST_ASKED = 256


async def fetch_block(
    client: Client, cid: Cid, known: Iterable[Provider], find_providers: FindProviders
) -> bytes:
    """A verified block from the first peer that gives it.

    Raises as `Download.wait` does when nobody is left to be asked.
    """
    return await _Asking(client, cid, find_providers).run(list(known))


class _Asking:
    def __init__(self, client: Client, cid: Cid, find_providers: FindProviders) -> None:
        self._client = client
        self._cid = cid
        self._find_providers = find_providers
        self._seen: set[bytes] = set()
        self._narrow: Counter[str] = Counter()
        self._more: list[Provider] = []
        self._failures: dict[bytes, P2pfsError] = {}
        self._lookup_error: P2pfsError | None = None
        self._block: bytes | None = None
        self._all_failed = trio.Event()
        self._send, self._receive = trio.open_memory_channel[Provider](_MOST_ASKED + _MOST_MORE)

    async def run(self, known: list[Provider]) -> bytes:
        for provider in known:
            self._found(provider)
        async with open_nursery() as nursery:
            nursery.start_soon(self._look)
            async for provider in self._receive:
                failed = trio.Event()
                nursery.start_soon(self._ask, provider, failed, nursery.cancel_scope)
                with trio.move_on_after(_NEXT_PEER_SECONDS):
                    await failed.wait()
        if self._block is None:
            raise why_not(self._cid, self._failures, self._lookup_error)
        return self._block

    def _found(self, provider: Provider) -> None:
        if provider.public_key in self._seen or not provider.addresses:
            return
        narrow = prefix_group(provider.addresses[0].ip)[1]
        if self._narrow[narrow] < _MOST_NARROW and self._narrow.total() < _MOST_ASKED:
            self._narrow[narrow] += 1
            self._seen.add(provider.public_key)
            self._send.send_nowait(provider)
        elif len(self._more) < _MOST_MORE:
            self._seen.add(provider.public_key)
            self._more.append(provider)

    async def _look(self) -> None:
        """Look for providers: at once if none is known, else when those known do not deliver."""
        with self._send:
            if self._seen:
                with trio.move_on_after(_LOOKUP_SECONDS):
                    await self._all_failed.wait()
            try:
                await self._find_providers(self._found)
            except P2pfsError as error:
                self._lookup_error = error
            for provider in self._more:
                self._send.send_nowait(provider)

    async def _ask(
        self, provider: Provider, failed: trio.Event, everything: trio.CancelScope
    ) -> None:
        try:
            self._block = await self._client.fetch_block(provider, self._cid)
        except P2pfsError as error:
            self._failures[provider.public_key] = error
            failed.set()
            if len(self._failures) == len(self._seen):
                self._all_failed.set()
        else:
            everything.cancel()
