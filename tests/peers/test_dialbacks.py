"""Dial-backs between a gateway and a client, over real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2pfs.dht.overlay import Provider
from p2pfs.peers import dialbacks
from p2pfs.peers.client import Client, open_client
from p2pfs.peers.contents import Contents
from p2pfs.peers.dialbacks import DIALBACK_PATH, Dialbacks
from p2pfs.peers.errors import PeerBusyError, PeerUnavailableError
from p2pfs.peers.gateway import Gateway
from tests.peers.fakes import MemoryBlocks, gateway_of, identity, scripted, serving

OWN = identity("asker").public_key


@asynccontextmanager
async def helper() -> AsyncIterator[tuple[Client, Provider]]:
    """A client, and a peer that can be asked to dial it back."""
    async with open_client() as own, open_client() as client:
        answers = {DIALBACK_PATH: Dialbacks(own.probe).answer}
        gateway = Gateway(Contents(MemoryBlocks()), answers, lambda _: True)  # type: ignore[arg-type]
        async with serving(gateway) as peer:
            yield client, peer


async def ask(client: Client, peer: Provider, port: int) -> bool:
    return await client.ask_dialback(peer.public_key, peer.addresses[0], OWN, port)


async def test_a_node_that_can_be_reached_is_told_so() -> None:
    async with helper() as (client, peer), serving(gateway_of(MemoryBlocks()), "asker") as here:
        assert await ask(client, peer, here.addresses[0].port)


async def test_another_key_at_the_port_is_not_the_asker() -> None:
    async with helper() as (client, peer), serving(gateway_of(MemoryBlocks()), "other") as there:
        assert not await ask(client, peer, there.addresses[0].port)


async def test_a_port_where_nobody_listens_is_not_reached() -> None:
    async with helper() as (client, peer):
        assert not await ask(client, peer, 9_999)


async def test_an_asker_that_accepts_and_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(stream: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(dialbacks, "_PROBE_SECONDS", 0.2)
    async with helper() as (client, peer), scripted(silent, "asker") as here:
        with trio.fail_after(3):
            assert not await ask(client, peer, here.addresses[0].port)


async def test_one_is_dialled_once_in_ten_seconds() -> None:
    async with helper() as (client, peer):
        await ask(client, peer, 9_999)
        with pytest.raises(PeerBusyError):
            await ask(client, peer, 9_999)


@pytest.mark.parametrize("port", [22, 0])
async def test_a_port_that_no_peer_may_use_is_never_dialled(port: int) -> None:
    async with helper() as (client, peer):
        with pytest.raises(PeerUnavailableError):
            await ask(client, peer, port)
