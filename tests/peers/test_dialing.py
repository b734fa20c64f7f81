from __future__ import annotations

import os

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.dht.overlay import Provider
from p2pfs.peers.dialing import host_of
from p2pfs.peers.errors import PeerUnavailableError, WrongKeyError
from p2pfs.peers.exchange import Asking, Request
from p2pfs.peers.ledger import Ledger
from tests.peers.fakes import Counting, asking, scripted

REQUEST = Request("GET", "/", "*/*")


async def ask(client: Asking, peer: Provider) -> bytes:
    async with client.ask(peer, REQUEST) as answer:
        return await answer.read()


def test_a_host_name_is_one_that_dns_allows() -> None:
    for key in (bytes(32), b"\xff" * 32, os.urandom(32)):
        assert all(0 < len(label) < 64 for label in host_of(key).split("."))
        assert bytes.fromhex(host_of(key).replace(".", "")) == key


async def test_the_address_that_answers_is_found_and_remembered() -> None:
    ledger = Ledger()
    silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
    dead = Endpoint("127.0.0.1", silent[0].socket.getsockname()[1])
    async with scripted(Counting()) as peer, asking(ledger) as client:
        both = Provider(peer.public_key, (dead, *peer.addresses))
        assert await ask(client, both) == b"ok"
        assert ledger.stats(peer.public_key).endpoint == peer.addresses[0]
    await silent[0].aclose()


async def test_without_an_address_that_works_there_is_one_error() -> None:
    async with scripted(Counting()) as peer, asking() as client:
        with pytest.raises(PeerUnavailableError):
            await ask(client, Provider(b"k" * 32, ()))
        with pytest.raises(WrongKeyError):
            await ask(client, Provider(b"k" * 32, peer.addresses))
