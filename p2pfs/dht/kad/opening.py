"""Opening the overlay: its parts put together, begun on the island, and ended there.

What it can do once it is open is `overlay`, and what a node consists of over there `server`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.dht.kad.island import open_island
from p2pfs.dht.kad.membership import Membership
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.kad.sealed import sealed_if_private
from p2pfs.dht.kad.server import Server
from p2pfs.dht.kad.settings import Settings
from p2pfs.dht.kad.sockets import Sockets
from p2pfs.dht.kad.traffic import Traffic
from p2pfs.settingtable import DEFAULT_MAX_ENTRIES

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Sequence

    from p2pfs.addresses import Endpoint, Neighbourhood
    from p2pfs.dht.kad.collecting import FetchPage
    from p2pfs.dht.kad.traffic import PostRecords
    from p2pfs.dht.recordstore import RecordStore
    from p2pfs.identity import Identity
    from p2pfs.network import Network


@asynccontextmanager
async def open_overlay(  # noqa: PLR0913 by keyword, from node.py alone
    *,
    identity: Identity,
    network: Network,
    neighbourhood: Neighbourhood,
    sockets: Sequence[socket.socket],
    https_port: int,
    store: RecordStore,
    fetch_page: FetchPage,
    post_records: PostRecords,
    peers: Sequence[Endpoint] = (),
    most_entries: int = DEFAULT_MAX_ENTRIES,
    clock: Callable[[], float] = time.time,
    server: bool | None = None,
) -> AsyncIterator[KadOverlay]:
    """Join over bound UDP sockets, one for each listen address, and close them at the end.

    A search looks for no more when it has found `most_entries` contents.

    Returns at once: joining goes on by itself, and operations wait for its first attempt.
    `server`: as in `Settings`.
    """
    settings = Settings(
        identity,
        network,
        neighbourhood,
        https_port,
        store,
        tuple(peers),
        clock,
        server=server,
    )
    own = Server(settings, sealed_if_private(Sockets(sockets), settings))
    async with open_island() as island:
        membership, living = await island.run(partial(begin, own))
        try:
            traffic = Traffic(island, own, membership.wait_settled, fetch_page, post_records)
            yield KadOverlay(island, own, membership, traffic, most_entries)
        finally:
            with trio.CancelScope(shield=True):
                await island.run(partial(end, own, living))


async def begin(server: Server) -> tuple[Membership, asyncio.Task[None]]:
    """On the island: open the sockets and start the loops."""
    membership = Membership(server, server.settings.peers, server.settings.records.contacts())
    server.greet = membership.greet
    server.may_knock_again = membership.may_knock_again
    server.introduce = membership.introduce
    await server.open()
    return membership, asyncio.create_task(membership.run())


async def end(server: Server, living: asyncio.Task[None]) -> None:
    """On the island: end the loops, then close the sockets."""
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
    server.stop()
