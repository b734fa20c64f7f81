"""Whom to ask for a content: the providers met so far, and the lookup for more."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2pfs.content.cid import Cid
    from p2pfs.dht.overlay import Overlay, Provider
    from p2pfs.identity import OwnKey
    from p2pfs.transfer.search import FindProviders

# Contents whose providers are remembered, for files that are opened again, or after a `stat`.
_REMEMBERED_ROOTS = 4_096
_REMEMBERED_PROVIDERS = 32
# Entries of directories whose root is remembered: a few listings of the largest kind.
_REMEMBERED_ENTRIES = 65_536


class Sources:
    """Remembers who had what, and which directory a content was found in.

    This node itself is left out.
    """

    def __init__(self, overlay: Overlay, own: OwnKey) -> None:
        self._overlay = overlay
        self.own = own
        self._providers: OrderedDict[bytes, dict[bytes, Provider]] = OrderedDict()
        self._origins: OrderedDict[bytes, Cid] = OrderedDict()

    def met(self, cid: Cid, providers: Iterable[Provider]) -> None:
        """These peers are said to have a content."""
        known = self._providers.setdefault(cid.multihash, {})
        self._providers.move_to_end(cid.multihash)
        for provider in providers:
            if provider.public_key == self.own.public_key:
                continue
            if len(known) < _REMEMBERED_PROVIDERS or provider.public_key in known:
                known[provider.public_key] = provider
        if len(self._providers) > _REMEMBERED_ROOTS:
            self._providers.popitem(last=False)

    def belongs(self, child: Cid, parent: Cid) -> None:
        """A content was found in a directory: who has the directory will have it too."""
        if child.multihash != parent.multihash:
            self._origins[child.multihash] = self.origin(parent)
            self._origins.move_to_end(child.multihash)
            if len(self._origins) > _REMEMBERED_ENTRIES:
                self._origins.popitem(last=False)

    def origin(self, cid: Cid) -> Cid:
        """The root that a content was found below, or itself."""
        return self._origins.get(cid.multihash, cid)

    def of(self, cid: Cid) -> tuple[list[Provider], FindProviders]:
        """The providers known by now, and how to find more."""
        known = self._providers.get(cid.multihash, {}) | self._providers.get(
            self.origin(cid).multihash, {}
        )
        return list(known.values()), partial(self._find, cid)

    async def _find(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        """Look for the root's providers; for those of a part of it only after that."""
        origin = self.origin(cid)
        for wanted in dict.fromkeys((origin, cid)):
            await self._overlay.providers(wanted, partial(self._found, wanted, found))

    def _found(self, cid: Cid, found: Callable[[Provider], None], provider: Provider) -> None:
        if provider.public_key != self.own.public_key:
            self.met(cid, [provider])
            found(provider)
