"""The half of a node that others meet, built once it has its key; the other half is `node`.

The order of the lines is the order of starting and, backwards, of stopping.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.dht.kad.opening import open_overlay
from p2pfs.dht.lan import discover
from p2pfs.dht.sqlitestore import open_record_store
from p2pfs.identity import create_identity
from p2pfs.library.announcing import Announcing
from p2pfs.parts import ANSWER_SECONDS
from p2pfs.peers.clock import follow_peers
from p2pfs.peers.gateway import build_gateway
from p2pfs.peers.interfaces import follow_interfaces
from p2pfs.peers.pacing import Link
from p2pfs.peers.reach import find_named, split_peers
from p2pfs.peers.silence import build_silence
from p2pfs.peers.streams.credentials import server_context
from p2pfs.peers.streams.http import serve_asgi

if TYPE_CHECKING:
    from p2pfs.addresses import Neighbourhood
    from p2pfs.dht.overlay import Joined
    from p2pfs.identity import Identity
    from p2pfs.library.metas import Metas
    from p2pfs.library.told import Told
    from p2pfs.parts import Parts
    from p2pfs.store.blocks import Blocks

_log = logging.getLogger(__name__)

_FORCED_SERVER = {"auto": None, "yes": True, "no": False}


async def join(
    identity: Identity | None,
    parts: Parts,
    near: Neighbourhood,
    overlay: Joined,
    blocks: Blocks,
    metas: Metas,
    told: Told,
) -> None:
    """Until cancelled; the key is made first if there is none, which takes seconds."""
    settings, network = parts.settings, parts.network
    if identity is None:
        _log.info("making this node's key, which takes a few seconds once")
        identity = await trio.to_thread.run_sync(
            create_identity, settings.places.identity, network, abandon_on_cancel=True
        )
        parts.own.public_key = identity.public_key
        told.own_files.load()
    addresses, names = split_peers(settings.peers)
    with open_record_store(settings.places.overlay) as records:
        async with (
            open_overlay(
                identity=identity,
                network=network,
                neighbourhood=near,
                sockets=parts.listening.udp,
                https_port=parts.listening.port,
                store=records,
                fetch_page=parts.client.fetch_page,
                post_records=parts.client.post_records,
                most_entries=settings.max_entries,
                peers=addresses,
                clock=parts.clock,
                server=_FORCED_SERVER[settings.server],
            ) as kad,
            open_nursery() as nursery,
        ):
            overlay.add(kad)
            uplink = Link(settings.limit_up) if settings.limit_up else None
            client = parts.client
            gateway = build_gateway(blocks, records, kad, network, near, uplink, client.probe)
            announcing = Announcing(
                kad,
                parts.shares,
                metas,
                identity,
                network,
                kad.own_addresses,
                parts.clock,
                batch_comes_in=parts.followed.batch_comes_in,
            )
            parts.kad, parts.gateway, told.announcing = kad, gateway, announcing
            parts.asked_at = trio.current_time()
            tls = server_context(identity, network.members)
            for name in names:
                nursery.start_soon(find_named, name, kad.add_peer)
            nursery.start_soon(follow_peers, parts.clock, kad)
            if network.members is not None:
                parts.silence = build_silence(network.members, parts.clock, kad)
                nursery.start_soon(parts.silence.run)
            radio = partial(discover, network, parts.listening.port, near, kad.look_at)
            on_lan = radio if settings.lan_discovery else None
            nursery.start_soon(follow_interfaces, near, parts.listening.ips, on_lan)
            nursery.start_soon(kad.tending.offer_detour, parts.strangers.ask)
            nursery.start_soon(kad.tending.watch_reach, client.ask_dialback)
            nursery.start_soon(kad.tending.repair, client.fetch_names, client.fetch_named)
            nursery.start_soon(serve_asgi, gateway, parts.listening.tcp, tls, near.is_near)
            nursery.start_soon(announcing.run)
            nursery.start_soon(_warn_if_unanswered, parts)


async def _warn_if_unanswered(parts: Parts) -> None:
    await trio.sleep(ANSWER_SECONDS)
    why = parts.unanswered()
    if why:
        _log.warning("%s; still trying %s", why, ", ".join(parts.settings.peers))
