from __future__ import annotations

import pytest
import trio

from p2pfs.dht.overlay import Provider
from p2pfs.peers import transport as transport_module
from p2pfs.peers.dialing import Dialer
from p2pfs.peers.exchange import Asking, Request, http_client
from p2pfs.peers.ledger import Ledger
from p2pfs.peers.streams.tls import TlsStream
from p2pfs.peers.transport import PeerTransport
from tests.peers.fakes import Counting, asking, http_answer, scripted

REQUEST = Request("GET", "/", "*/*")


async def ask(client: Asking, peer: Provider) -> bytes:
    async with client.ask(peer, REQUEST) as answer:
        return await answer.read()


async def test_a_connection_is_used_again() -> None:
    counting = Counting()
    async with scripted(counting) as peer, asking() as client:
        for _ in range(5):
            assert await ask(client, peer) == b"ok"
    assert (counting.connections, counting.requests) == (1, 5)


async def test_a_connection_with_an_unread_body_is_not() -> None:
    counting = Counting()
    async with scripted(counting) as peer, asking() as client:
        for _ in range(2):
            async with client.ask(peer, REQUEST):
                pass
    assert counting.connections == 2


async def test_peers_at_one_address_are_not_confused() -> None:
    one, other = Counting(), Counting()
    async with scripted(one, "one") as first, scripted(other, "other") as second:
        both = first.addresses + second.addresses
        async with asking() as client:
            for peer in (first, second, first, second):
                assert await ask(client, Provider(peer.public_key, both)) == b"ok"
    assert (one.requests, other.requests) == (2, 2)


async def test_a_connection_that_the_peer_has_closed_is_replaced() -> None:
    counting = Counting(requests_a_connection=1)
    async with scripted(counting) as peer, asking() as client:
        for _ in range(3):
            assert await ask(client, peer) == b"ok"
    assert counting.connections == 3


async def test_a_request_that_a_kept_connection_did_not_answer_is_sent_again() -> None:
    requests = []

    async def forgetful(stream: TlsStream) -> None:
        requests.append(await stream.receive_some())
        await stream.send_all(http_answer(b"ok"))
        requests.append(await stream.receive_some())  # and closes

    async with scripted(forgetful) as peer, asking() as client:
        for _ in range(3):
            assert await ask(client, peer) == b"ok"
    assert len(requests) == 6  # of which the last is the end of the client's


async def test_idle_connections_are_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "_IDLE_SECONDS", 0.05)
    closed = trio.Event()

    async def once(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_answer(b"ok"))
        await stream.receive_some()
        closed.set()

    ledger = Ledger()
    transport = PeerTransport(Dialer(ledger))
    async with (
        scripted(once) as peer,
        http_client(transport) as http,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(transport.close_old)
        await ask(Asking(http, ledger), peer)
        with trio.fail_after(5):
            await closed.wait()
        nursery.cancel_scope.cancel()
