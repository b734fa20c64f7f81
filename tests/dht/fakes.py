"""The overlay as a dict, for tests of everything above it.  It passes `overlay_suite`."""

from __future__ import annotations

from collections.abc import Callable

import trio

from p2pfs.addresses import Endpoint
from p2pfs.content.cid import Cid
from p2pfs.content.metainfo import MetaInfo
from p2pfs.dht.overlay import Provider
from p2pfs.errors import NoPeersError


class OverlayWorld:
    """What all nodes of one network share; `latency` seconds is what every call takes."""

    def __init__(self) -> None:
        self.nodes: list[DictOverlay] = []
        self.providers: dict[bytes, dict[bytes, Provider]] = {}
        self.metas: dict[str, dict[tuple[bytes, bytes], MetaInfo]] = {}
        self.latency = 0.0

    def join(self, public_key: bytes, *addresses: Endpoint) -> DictOverlay:
        overlay = DictOverlay(self, Provider(public_key, addresses))
        self.nodes.append(overlay)
        return overlay


class DictOverlay:
    """One node's view of an `OverlayWorld`, in which nothing ever expires."""

    def __init__(self, world: OverlayWorld, own: Provider) -> None:
        self._world = world
        self._own = own

    async def announce(self, cid: Cid, expires: int) -> int:  # noqa: ARG002 nothing expires
        await trio.sleep(self._world.latency)
        self._world.providers.setdefault(cid.multihash, {})[self._own.public_key] = self._own
        return self._others()

    async def providers(self, cid: Cid, found: Callable[[Provider], None]) -> None:
        await trio.sleep(self._world.latency)
        for provider in list(self._world.providers.get(cid.multihash, {}).values()):
            if provider.public_key != self._own.public_key:
                found(provider)
        self._need_others()

    async def publish(self, meta: MetaInfo) -> int:
        await trio.sleep(self._world.latency)
        slot = (meta.publisher, meta.cid.multihash)
        for tag in meta.index_tags:
            held = self._world.metas.setdefault(tag, {})
            if slot not in held or meta.seq > held[slot].seq:
                held[slot] = meta
        return self._others()

    async def search(self, tag: str, found: Callable[[MetaInfo], None]) -> None:
        await trio.sleep(self._world.latency)
        for meta in list(self._world.metas.get(tag, {}).values()):
            found(meta)
        self._need_others()

    def _others(self) -> int:
        return len(self._world.nodes) - 1

    def _need_others(self) -> None:
        if not self._others():
            raise NoPeersError("no node of the network could be asked")
