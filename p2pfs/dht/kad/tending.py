"""What a node does for the overlay beside its own business, in trio: being found out, repairing.

What each decides is in `reachability` and `repairing`; HTTPS comes in callables.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.addresses import is_v6
from p2pfs.concurrency import deadline, open_nursery
from p2pfs.dht.kad.reachability import RECHECK_SECONDS
from p2pfs.dht.kad.repairing import Repair, pull
from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.contacts import Contact, ContactSnapshot
    from p2pfs.dht.kad.detour import PostMessage
    from p2pfs.dht.kad.island import Island
    from p2pfs.dht.kad.membership import Membership
    from p2pfs.dht.kad.repairing import Region
    from p2pfs.dht.kad.server import Server

    # A peer's public key and HTTPS address, this node's own: whether the peer reached it there.
    DialBack: TypeAlias = Callable[[bytes, Endpoint, bytes, int], Awaitable[bool]]
    # Of a peer: a page of names (near, bits, cursor), and the records of names.
    FetchNames: TypeAlias = Callable[[bytes, Endpoint, Region, bytes], Awaitable[bytes]]
    FetchNamed: TypeAlias = Callable[[bytes, Endpoint, bytes], Awaitable[bytes]]

_LOG = logging.getLogger(__name__)

# A client may be reachable since its router was changed; each check is a handful of datagrams.
_CLIENT_RECHECK_SECONDS = 60
# Between looks at whether there is somebody to ask.
_LOOK_SECONDS = 5
# Peers that are asked to dial back by HTTPS, one after another until one got through.
_DIALBACKS = 3
# For all that one neighbour has; 200,000 records take half of it.  Who is slower, or never comes to
# an end, keeps this node from its other neighbours.
NEIGHBOUR_SECONDS = 600


class Tending:
    """Loops that `node` starts, each until cancelled."""

    def __init__(self, island: Island, server: Server, membership: Membership) -> None:
        self._island = island
        self._server = server
        self._membership = membership
        self._repair = Repair(server)

    async def offer_detour(self, post: PostMessage) -> None:
        """Have requests go by HTTPS while nobody answers datagrams; `post` runs here, in trio."""
        async with open_nursery() as nursery:

            async def posted(to: Endpoint, message: bytes) -> tuple[bytes, bytes]:
                return await self._island.ashore(nursery, partial(post, to, message))

            self._server.detour.post = posted
            try:
                await trio.sleep_forever()
            finally:
                self._server.detour.post = None

    async def watch_reach(self, dial_back: DialBack) -> None:
        """Find out again and again whether strangers reach this node."""
        server = self._server
        while not server.reachability.is_forced:
            was_server = server.is_server
            await self._island.run(self._membership.wait_settled)
            asked, checked = self._unlisted_at(), trio.current_time()
            by_https = await self._dialed_back(dial_back)
            if await self._island.run(partial(self._note_reached, by_https)) and not was_server:
                _LOG.info("strangers reach this node: it is a server of the overlay now")
            while trio.current_time() - checked < self._pause(asked):  # noqa: ASYNC110 nothing tells
                await trio.sleep(_LOOK_SECONDS)

    async def repair(self, fetch_names: FetchNames, fetch_named: FetchNamed) -> None:
        """Fetch from neighbours, again and again, what belongs here; a client keeps nothing."""
        while True:
            await self._island.run(self._membership.wait_settled)
            if not self._server.is_server or not self._server.contacts():
                await trio.sleep(_LOOK_SECONDS)
                continue
            coming = await self._island.run(self._repair.next_round)
            for contact in coming.neighbours:
                neighbour = _Neighbour(self, contact, fetch_names, fetch_named)
                try:
                    with deadline(NEIGHBOUR_SECONDS, "fetching a neighbour's records"):
                        kept = await pull(neighbour, coming.region)
                except P2pfsError as error:
                    _LOG.debug("no records from the neighbour %s: %s", contact.endpoint, error)
                    continue
                if kept:
                    _LOG.debug("%d records from the neighbour %s", kept, contact.endpoint)
            await trio.sleep(coming.pause)

    async def missing(self, names: Sequence[bytes]) -> list[bytes]:
        """See `Repair.missing`."""

        async def look() -> list[bytes]:
            return self._repair.missing(names)

        return await self._island.run(look)

    async def take(self, encoded: bytes, teller: str) -> int:
        """See `Repair.take`."""
        return await self._island.run(partial(self._repair.take, encoded, teller))

    def _pause(self, asked: set[bool]) -> float:
        """From one check, at which these could be asked (see `is_v6`), to the next; seconds.

        The first whom this node meets may be near by, and the first of IPv6 may come last.
        """
        unlisted = self._unlisted_at()
        if unlisted - asked:
            return 0
        is_done = self._server.is_server and not unlisted
        return RECHECK_SECONDS if is_done else _CLIENT_RECHECK_SECONDS

    def _unlisted_at(self) -> set[bool]:
        """Whether by IPv4, by IPv6 or both there are contacts that are not to list this node."""
        far = [each.endpoint for each in self._server.far_contacts()]
        return {is_v6(each.ip) for each in far if not self._server.is_listed(each)}

    async def _dialed_back(self, dial_back: DialBack) -> list[str]:
        """The IPs of peers that got through, one of IPv4 and one of IPv6."""
        far, dice = self._server.far_contacts(), self._server.settings.random
        found = []
        for family in (False, True):
            peers = [each for each in far if is_v6(each.endpoint.ip) is family]
            for each in dice.sample(peers, min(_DIALBACKS, len(peers))):
                if await self._gets_through(each, dial_back):
                    found.append(each.endpoint.ip)
                    break
        return found

    async def _gets_through(self, peer: ContactSnapshot, dial_back: DialBack) -> bool:
        own_key, own_port = self._server.own_key, self._server.settings.https_port
        try:
            return await dial_back(peer.public_key, peer.https, own_key, own_port)
        except P2pfsError as error:
            _LOG.debug("%s dials nobody back: %s", peer.endpoint, error)
            return False

    async def _note_reached(self, by_https: Sequence[str]) -> bool:
        """On the island: whether this node is a server now."""
        server = self._server
        if server.detour.is_taken(near=False):
            return False  # no datagram gets through, whoever would send one
        for ip in by_https:
            server.reachability.reached_by_https(ip, server.monotonic())
        await server.dialbacks.check()
        for ip in by_https:
            if not server.dialbacks.may_show:
                server.reachability.heard(ip, server.monotonic())
        if server.reachability.is_server(server.monotonic()):
            self._membership.introduce()
            return True
        return False


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """See `repairing.Neighbour`."""

    own: Tending
    contact: Contact
    fetch_names: FetchNames
    fetch_named: FetchNamed

    async def names(self, region: Region, cursor: bytes) -> bytes:
        return await self.fetch_names(self.contact.public_key, self.contact.https, region, cursor)

    async def named(self, names: Sequence[bytes]) -> bytes:
        joined = b"".join(names)
        return await self.fetch_named(self.contact.public_key, self.contact.https, joined)

    async def missing(self, names: Sequence[bytes]) -> list[bytes]:
        return await self.own.missing(names)

    async def take(self, encoded: bytes) -> int:
        return await self.own.take(encoded, self.contact.endpoint.ip)
