"""What a running node is made of, as far as its status needs it.

The values that are shown, and their rendering, are in `status`; nothing here waits.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from p2pfs import __version__, status
from p2pfs.errors import NoPeersError
from p2pfs.identity import OwnKey, peer_id
from p2pfs.peers.reach import local_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.delegated import Delegated
    from p2pfs.dht.kad.overlay import KadOverlay
    from p2pfs.dht.kad.sweeping import Swept
    from p2pfs.library.folders import Folders
    from p2pfs.library.followed import Followed
    from p2pfs.library.reading import Reading
    from p2pfs.network import Network
    from p2pfs.peers.client import Client
    from p2pfs.peers.clock import NetworkClock
    from p2pfs.peers.gateway import Gateway
    from p2pfs.peers.reach import Listening
    from p2pfs.peers.silence import Silence
    from p2pfs.peers.strangers import Strangers
    from p2pfs.settings import Settings
    from p2pfs.store.objects import Objects
    from p2pfs.store.shares import Shares


# Whoever is there has answered by then, also from afar and after a lost datagram.
ANSWER_SECONDS = 5.0


@dataclass
class Parts:
    """What a status is made of; the last ones come when the node has its key."""

    settings: Settings
    network: Network
    clock: NetworkClock
    listening: Listening
    own: OwnKey
    shares: Shares
    followed: Followed
    folders: Folders
    objects: Objects
    reading: Reading
    client: Client
    strangers: Strangers
    routers: Sequence[Delegated]
    mounts: list[str] = field(default_factory=list)
    kad: KadOverlay | None = None
    gateway: Gateway | None = None
    silence: Silence | None = None
    asked_at: float = math.inf
    """When the first peers were asked, as trio counts time."""

    def snapshot(self) -> status.Status:
        """The node as it is now; never waits."""
        peers = self.client.peers()
        return status.Status(
            version=__version__,
            pid=os.getpid(),
            network=self.settings.network,
            peer_id=peer_id(self.own.public_key) if self.own.public_key else None,
            address=self._address(),
            mounts=self.mounts,
            share=status.text_of(self.settings.share),
            overlay=self._overlay(),
            peers=[
                status.PeerStatus(
                    peer_id(key),
                    str(stats.endpoint or "-"),
                    None if stats.rtt is None else stats.rtt * 1000,
                    stats.rate,
                    stats.fetched,
                    stats.failures,
                    stats.wrong,
                )
                for key, stats in peers.items()
            ],
            transfers=[
                status.TransferStatus(
                    str(each.cid), each.size, each.present_bytes, len(each.peers), each.last_error
                )
                for each in self.reading.transfers()
            ],
            shares=self._shares(),
            cache=status.CacheStatus(self.objects.used_bytes(), self.objects.room.quota),
            served_bytes=self.gateway.served_bytes if self.gateway else 0,
            fetched_bytes={peer_id(key): stats.fetched for key, stats in peers.items()},
            delegated=[
                status.RouterStatus(each.url, each.asked, each.found, each.last_error)
                for each in self.routers
            ],
            folders=[
                status.FolderStatus(
                    status.text_of(path),
                    str(cid) if cid else None,
                    ": ".join(filter(None, self.folders.state(path))),
                )
                for path, cid in self.folders.all().items()
            ],
            noticing=self.followed.share_folder.watching.trouble,
            clock_behind=self._clock_behind(),
        )

    def pages(self) -> dict[str, Callable[[], bytes]]:
        """The files that show it in the mount."""
        return {
            "status": lambda: status.render_status(self.snapshot()).encode(),
            "status.json": lambda: status.encode_json(self.snapshot()),
        }

    async def sweep(self, multihashes: Sequence[bytes], expires: int) -> Swept:
        """As `KadOverlay.sweep`, once there is one."""
        if self.kad is None:
            raise NoPeersError("this node is not in a network yet")
        return await self.kad.sweep(multihashes, expires)

    def own_addresses(self) -> Sequence[Endpoint]:
        """Where others can reach this node, as far as is known by now."""
        return self.kad.own_addresses() if self.kad else ()

    def _clock_behind(self) -> float | None:
        ahead = self.kad.ahead() if self.kad else None
        return None if ahead is None else ahead + self.clock.offset

    def _address(self) -> str | None:
        if self.kad is None:
            return None
        return str(next(iter(self.own_addresses()), local_address(self.listening)))

    def _overlay(self) -> status.OverlayStatus:
        private = self.network.members is not None
        if self.kad is None:
            return status.OverlayStatus("starting", 0, private)
        contacts = self._contacts()
        mode = "server" if self.kad.is_server else "client"
        silence = self.silence.problem if self.silence else ""
        blocked = status.UDP_BLOCKED if self.kad.is_blocked else ""
        problem = silence or blocked or self.clock.problem or self.unanswered()
        return status.OverlayStatus(mode if contacts else status.ALONE, contacts, private, problem)

    def unanswered(self) -> str:
        """Why none of the peers that were named answers, once one would have; else empty."""
        peers = len(self.settings.peers)
        is_early = trio.current_time() < self.asked_at + ANSWER_SECONDS
        return "" if is_early or not peers or self._contacts() else status.said_unanswered(peers)

    def _contacts(self) -> int:
        return sum(each.answers for each in self.kad.contacts()) if self.kad else 0

    def _shares(self) -> list[status.ShareStatus]:
        rows = self.shares.all()
        shares = [
            status.ShareStatus(
                status.text_of(share.path),
                str(share.cid) if share.cid else None,
                ": ".join(filter(None, self.followed.state(share.path))),
                share.size,
            )
            for share in rows
        ]
        lost = self.followed.publishing.failed()
        for share in rows:
            lost.pop(share.path, None)
        return shares + [
            status.ShareStatus(status.text_of(path), None, f"failed: {reason}", 0)
            for path, reason in lost.items()
        ]
