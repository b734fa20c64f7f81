"""A node that was away finds back by whoever is still there; over real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad import acquaintances
from p2pfs.dht.kad.referrals import pack_address
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.overlay import Provider
from p2pfs.dht.sqlitestore import open_record_store
from tests.dht.kad.nodes import (
    LOOPBACK,
    cid_of,
    expiry,
    identity,
    open_node,
    udp_socket,
    wait_until,
)

SONG = cid_of(b"song")
# When a third of the old contacts answer.
REJOINED_SECONDS = 3.0
# What a silent one would be waited for; the slowest machine is done in half of it without.
SILENT_SECONDS = 40.0


@contextmanager
def silent_addresses(count: int) -> Iterator[list[Endpoint]]:
    """Where nobody answers, and no ICMP tells so."""
    sockets = [udp_socket() for _ in range(count)]
    try:
        yield [Endpoint(LOOPBACK, sock.getsockname()[1]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


async def network(nodes: AsyncExitStack, size: int) -> list[Endpoint]:
    """Nodes that know each other; the first has announced the song."""
    first, address = await nodes.enter_async_context(open_node())
    addresses = [address]
    others = [await nodes.enter_async_context(open_node(address)) for _ in range(size - 1)]
    addresses += [each for _, each in others]
    await wait_until(lambda: len(first.contacts()) == size - 1)
    assert await first.announce(SONG, expiry())
    return addresses


def saved(addresses: list[Endpoint]) -> MemoryRecordStore:
    """As a run that ended leaves it, the latest first."""
    store = MemoryRecordStore()
    store.keep_contacts(
        (identity().public_key + pack_address(address), 1_000 - age)
        for age, address in enumerate(addresses)
    )
    return store


@pytest.mark.parametrize("dead_first", [True, False])
async def test_a_node_is_back_in_time_when_a_third_of_its_contacts_answer(
    dead_first: bool,
) -> None:
    async with AsyncExitStack() as nodes:
        alive = await network(nodes, 10)
        with silent_addresses(20) as dead:
            store = saved(dead + alive if dead_first else alive + dead)
            started = time.monotonic()
            overlay, _ = await nodes.enter_async_context(open_node(store=store))
            found: list[Provider] = []
            await overlay.providers(SONG, found.append)
            assert time.monotonic() - started < REJOINED_SECONDS
            assert found
            await wait_until(lambda: len(overlay.contacts()) == 10)
            assert time.monotonic() - started < REJOINED_SECONDS


async def test_one_that_answers_is_enough_and_the_silent_ones_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for limit in ("FIRST_TIMEOUT_SECONDS", "_MOST_TIMEOUT_SECONDS"):
        monkeypatch.setattr(acquaintances, limit, SILENT_SECONDS)
    async with AsyncExitStack() as nodes:
        peer, *_ = await network(nodes, 3)
        with silent_addresses(20) as dead, trio.fail_after(SILENT_SECONDS / 2):
            overlay, _ = await nodes.enter_async_context(open_node(peer, store=saved(dead)))
            found: list[Provider] = []
            await overlay.providers(SONG, found.append)
            assert found


async def test_records_and_contacts_are_there_again_after_a_restart(tmp_path: Path) -> None:
    own, path = identity(), tmp_path / "overlay.sqlite"
    async with open_node() as (publisher, address):
        with open_record_store(path) as store:
            async with open_node(address, own=own, store=store) as (holder, _):
                await wait_until(lambda: len(publisher.contacts()) == 1)
                await wait_until(lambda: bool(holder._server.finder.estimate.encode()))
                assert await publisher.announce(SONG, expiry()) == 1
        with open_record_store(path) as store:
            assert store.estimate()
            async with open_node(own=own, store=store) as (holder, back_at):
                await wait_until(lambda: len(holder.contacts()) == 1)
                found: list[Provider] = []
                async with open_node(back_at) as (reader, _):
                    await reader.providers(SONG, found.append)
    assert found


async def test_a_node_begins_with_how_large_the_network_was() -> None:
    store = MemoryRecordStore()
    store.keep_estimate((1 << 150).to_bytes(21, "big") * 8)
    async with open_node(store=store) as (alone, _):
        await wait_until(lambda: alone._server.finder.estimate.reach == 1 << 150)
