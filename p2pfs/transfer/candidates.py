"""The peers that may have one file: how many are kept, what each says it has, why it failed.

What each is asked for is decided in `plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2pfs.content.intervals import Intervals
from p2pfs.dht.overlay import Provider
from p2pfs.errors import P2pfsError
from p2pfs.peers.errors import PeerLacksError
from p2pfs.transfer.standing import Standing

if TYPE_CHECKING:
    from p2pfs.peers.client import Client
    from p2pfs.store.object import Object

# As many as a file's speed can need; of a popular one the rest of the world is not tried.
_MAX_PEERS = 32
# Those that have failed make room for others, else as many made-up providers would hide the real
# ones; in all it is what a key of the overlay holds.
_MAX_PEERS_IN_ALL = 256
# Where a peer is known by more addresses than one record names.
_MAX_ADDRESSES = 8


class Candidates:
    """Adds to what the plan sees: standings by public key."""

    def __init__(self, standings: dict[bytes, Standing], client: Client, held: Object) -> None:
        self._standings = standings
        self._client = client
        self._object = held

    def add(self, provider: Provider) -> bool:
        """Whether this is one more to be asked; of one that is known, addresses are added."""
        known = self._standings.get(provider.public_key)
        if known is not None:
            both = dict.fromkeys(provider.addresses + known.provider.addresses)
            known.provider = Provider(provider.public_key, tuple(both)[:_MAX_ADDRESSES])
            return False
        if not self._has_room():
            return False
        stats = self._client.stats(provider.public_key)
        standing = Standing(provider, stats.rate, suspect=bool(stats.wrong))
        self._standings[provider.public_key] = standing
        return True

    def sound(self, now: float) -> int:
        """How many are worth waiting for, and have not just failed."""
        return sum(peer.is_hopeful(now) and not peer.failures for peer in self._standings.values())

    def failures(self) -> dict[bytes, P2pfsError]:
        """The last error of each that had one."""
        peers = self._standings.values()
        return {peer.key: peer.last_error for peer in peers if peer.last_error is not None}

    async def ask(self, peer: Standing) -> None:
        """Ask a peer which parts it has; the answer, or its failure, is in its standing then."""
        try:
            held = await self._client.fetch_held(peer.provider, self._object.cid)
        except PeerLacksError:  # nothing yet; or it speaks only the gateway's protocol
            peer.told(Intervals(), self._object.size, trio.current_time())
        except P2pfsError as error:
            peer.erred(error, trio.current_time())
        else:
            peer.told(held, self._object.size, trio.current_time())

    def _has_room(self) -> bool:
        peers = self._standings.values()
        sound = sum(not (peer.is_dropped or peer.is_empty or peer.failures) for peer in peers)
        return sound < _MAX_PEERS and len(peers) < _MAX_PEERS_IN_ALL
