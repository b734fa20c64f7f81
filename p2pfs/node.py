"""The composition root: builds every part of a node, and owns the one long-lived nursery.

The order of the lines is the order of starting and, backwards, of stopping.  Nothing is decided
here; what the parts do with each other can be read off their arguments.
"""

from __future__ import annotations

import logging
import resource
import signal
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs import status
from p2pfs.addresses import Neighbourhood
from p2pfs.concurrency import open_nursery
from p2pfs.control.api import Control, bind_control
from p2pfs.control.content import content_endpoints
from p2pfs.control.found import search_endpoints
from p2pfs.control.kept import pin_endpoints, upkeep_endpoints
from p2pfs.control.known import Known, info_endpoints
from p2pfs.control.owned import share_places, tag_endpoints
from p2pfs.control.published import Published, publishing_endpoints
from p2pfs.control.running import running_endpoints
from p2pfs.dht.delegated import open_delegated
from p2pfs.dht.overlay import Joined
from p2pfs.fs.assembly import build_operations
from p2pfs.fs.mount import keep_apart, open_mount
from p2pfs.homelock import holding
from p2pfs.identity import OwnKey, load_identity
from p2pfs.joining import join
from p2pfs.library.below import find_below
from p2pfs.library.elsewhere import Elsewhere
from p2pfs.library.folders import Folders
from p2pfs.library.followed import Followed
from p2pfs.library.ingest import Ingest
from p2pfs.library.listednames import ListedNames
from p2pfs.library.localpaths import refusals
from p2pfs.library.metas import Metas
from p2pfs.library.ownfiles import OwnFiles
from p2pfs.library.pinning import Pinning
from p2pfs.library.providing import Providing
from p2pfs.library.publishing import Publishing
from p2pfs.library.reading import Reading
from p2pfs.library.searching import Searches
from p2pfs.library.seeding import Seeding
from p2pfs.library.sources import Sources
from p2pfs.library.standing import Place
from p2pfs.library.sweeping import Sweep
from p2pfs.library.told import Told
from p2pfs.library.upkeep import Upkeep
from p2pfs.parts import Parts
from p2pfs.peers.client import open_client
from p2pfs.peers.clock import NetworkClock
from p2pfs.peers.interfaces import attached_subnets
from p2pfs.peers.reach import listen, local_address
from p2pfs.peers.strangers import open_strangers
from p2pfs.peers.streams.http import serve_asgi
from p2pfs.settings import DEFAULT_LISTEN
from p2pfs.store.blocks import Blocks
from p2pfs.store.catalog import open_catalog
from p2pfs.store.copies import Copies
from p2pfs.store.dags import Dags
from p2pfs.store.folders import SharedFolders
from p2pfs.store.foldershares import in_share_folder
from p2pfs.store.objects import open_objects
from p2pfs.store.pins import Pins
from p2pfs.store.provided import Provided
from p2pfs.store.publications import Publications
from p2pfs.store.room import limits_of
from p2pfs.store.seeding import seeded
from p2pfs.store.shares import Shares
from p2pfs.store.swept import SweptFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from p2pfs.fs.operations import Operations
    from p2pfs.peers.reach import Listening
    from p2pfs.settings import Chosen, Settings

_log = logging.getLogger(__name__)


def run_node(chosen: Chosen, place: Path | None, ready: Callable[[str], None]) -> int:
    """Run a node until it is told to end; the signal that ended it, or 0.

    Mounts it on `place`, if that is given; calls `ready` with its address when it is usable.
    """
    settings = chosen.settings
    if place is not None:
        keep_apart(place, settings.share)
    _raise_descriptor_limit()
    with (
        holding(settings.places.data, place),
        closing(listen(settings.listen, next_free=settings.listen == DEFAULT_LISTEN)) as listening,
    ):
        return trio.run(_run, chosen, listening, place, ready)


def _raise_descriptor_limit() -> None:
    """As far as we may: 512 connections and what programs have open pass the usual 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _run(
    chosen: Chosen, listening: Listening, place: Path | None, ready: Callable[[str], None]
) -> int:
    ended_by = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_nursery() as nursery:

            async def end_on_signal() -> None:
                nonlocal ended_by
                ended_by = await anext(aiter(signals))
                _log.info("%s: leaving", signal.Signals(ended_by).name)
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_on_signal)
            await _serve(chosen, listening, place, ready)
            nursery.cancel_scope.cancel()
    return ended_by


async def _serve(
    chosen: Chosen, listening: Listening, place: Path | None, ready: Callable[[str], None]
) -> None:
    """Everything between the first file opened and the last one closed; ends when unmounted."""
    settings = chosen.settings
    network, clock = settings.overlay_network(), NetworkClock()
    identity = load_identity(settings.places.identity, network)
    own = OwnKey(identity.public_key) if identity else OwnKey()
    settings.share.mkdir(parents=True, exist_ok=True)
    limits = limits_of(settings.places.cache, settings.cache_size, settings.min_free)
    near = Neighbourhood(attached_subnets(), settings.lan)
    stopped = trio.Event()
    async with (
        open_catalog(settings.places.catalog) as catalog,
        open_client(settings.limit_down, network.members) as client,
        open_strangers(network.members) as strangers,
        open_delegated(settings.delegated, near.counts, own) as routers,
    ):
        dags, shares = Dags(catalog), Shares(catalog, settings.share)
        async with (
            open_objects(settings.places.cache, catalog, dags, shares, limits) as objects,
            open_nursery() as nursery,
        ):
            overlay = Joined(*routers)
            metas = Metas(catalog, network, settings.max_entries)
            own_files = OwnFiles(shares, own)
            own_files.load()
            told = Told(own_files)
            providing = Providing(overlay, Provided(catalog), lambda: parts.own_addresses(), clock)
            folders = Folders(shares.folder, SharedFolders(catalog), providing)
            share_rows = in_share_folder(shares)
            ingest = Ingest(share_rows, told.changed, touched=folders.changed)
            seen = share_places(settings.share, place)
            open_place = partial(Elsewhere, catalog, shares, providing, told.changed)
            publishing = Publishing(
                Publications(catalog),
                open_place,
                told.changed,
                refusals(settings.places, seen),
                nursery,
            )
            followed = Followed(ingest, publishing)
            pins = Pins(catalog)
            seeds = seeded(settings.seed, pins.is_pinned)
            blocks = Blocks(dags, shares, objects, seeds, followed.changed)
            copies = Copies(dags, shares, objects, followed.changed)
            sources = Sources(overlay, own)
            reading = Reading(objects, dags, shares, copies, client, sources, nursery)
            searches = Searches(
                overlay,
                metas,
                own_files,
                ListedNames(catalog),
                nursery,
                clock=clock,
                max_entries=settings.max_entries,
            )
            parts = Parts(
                settings,
                network,
                clock,
                listening,
                own,
                shares,
                followed,
                folders,
                objects,
                reading,
                client,
                strangers,
                routers,
            )
            pinning = Pinning(reading, pins, objects.room)
            upkeep = Upkeep(objects, shares, metas, followed.changed)
            await publishing.start()
            files, at = SweptFiles(catalog), parts.own_addresses
            for live in (
                publishing.look_again,
                ingest.run,
                upkeep.scrub,
                pinning.run,
                partial(folders.run, ingest.scanned),
                Sweep(parts.sweep, files, dags, at, settings.announce_chunks, clock).run,
                providing.run,
                Seeding(providing, objects, shares, reading, seeds).run,
            ):
                nursery.start_soon(live)
            endpoints = {
                **running_endpoints(chosen, parts.snapshot, stopped.set),
                **search_endpoints(searches),
                **pin_endpoints(pinning),
                **upkeep_endpoints(upkeep, partial(find_below, reading)),
                **content_endpoints(reading),
                **tag_endpoints(shares, ingest.hints.retagged, seen),
                **publishing_endpoints(
                    Published(publishing, shares, Place(share_rows, ingest, folders), seen)
                ),
                **info_endpoints(Known(reading, metas, own_files, shares, followed.state, pins)),
            }
            nursery.start_soon(_control, settings, Control(endpoints))
            operations = build_operations(
                reading, searches, shares, ingest, folders, own, parts.pages()
            )
            async with _mounted(place, operations, parts, stopped):
                ready(str(local_address(listening)))
                nursery.start_soon(join, identity, parts, near, overlay, blocks, metas, told)
                await stopped.wait()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _mounted(
    place: Path | None, operations: Operations, parts: Parts, stopped: trio.Event
) -> AsyncIterator[None]:
    """The mount, if one is wanted; `stopped` is set when somebody else unmounts it."""
    if place is None:
        yield
        return
    async with open_mount(place, operations) as mount, open_nursery() as nursery:

        async def watch() -> None:
            await mount.wait_unmounted()
            _log.info("unmounted")
            stopped.set()

        nursery.start_soon(watch)
        parts.mounts = [status.text_of(place)]
        yield
        parts.mounts = []
        nursery.cancel_scope.cancel()


async def _control(settings: Settings, control: Control) -> None:
    """Answer the command line."""
    with closing(bind_control(settings.places.socket)) as listener:
        try:
            await serve_asgi(control, [listener])
        finally:
            settings.places.socket.unlink(missing_ok=True)
