from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.dht.overlay import Provider
from p2pfs.peers import pool as pool_module
from p2pfs.peers.errors import PeerUnavailableError, WrongKeyError
from p2pfs.peers.exchange import Request
from p2pfs.peers.ledger import Ledger, PeerStats
from p2pfs.peers.pool import Pool
from p2pfs.peers.streams.tls import TlsStream, client_context
from tests.peers.fakes import http_answer, scripted

REQUEST = Request("GET", "/", "*/*")


class Counting:
    """Answers "ok" to every request, counting connections, requests, and those at once."""

    def __init__(self, requests_a_connection: int = 100) -> None:
        self.connections = 0
        self.requests = 0
        self.at_once = 0
        self.most_at_once = 0
        self.go_on = trio.Event()
        self.go_on.set()
        self._requests_a_connection = requests_a_connection

    async def __call__(self, stream: TlsStream) -> None:
        self.connections += 1
        for _ in range(self._requests_a_connection):
            if not await stream.receive_some():
                return
            self.requests += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await self.go_on.wait()
            self.at_once -= 1
            await stream.send_all(http_answer(b"ok"))


async def ask(pool: Pool, peer: Provider) -> bytes:
    async with pool.exchange(peer, REQUEST) as (_, body):
        return await body.read()


async def test_a_connection_is_used_again() -> None:
    counting = Counting()
    async with scripted(counting) as peer:
        pool = Pool(client_context(), Ledger())
        for _ in range(5):
            assert await ask(pool, peer) == b"ok"
        pool.close()
    assert (counting.connections, counting.requests) == (1, 5)


async def test_a_connection_with_an_unread_body_is_not() -> None:
    counting = Counting()
    async with scripted(counting) as peer:
        pool = Pool(client_context(), Ledger())
        for _ in range(2):
            async with pool.exchange(peer, REQUEST):
                pass
        pool.close()
    assert counting.connections == 2


async def test_a_connection_that_the_peer_has_closed_is_replaced() -> None:
    counting = Counting(requests_a_connection=1)
    async with scripted(counting) as peer:
        pool = Pool(client_context(), Ledger())
        for _ in range(3):
            assert await ask(pool, peer) == b"ok"
        pool.close()
    assert counting.connections == 3


@pytest.mark.parametrize(("rtt", "most"), [(0.001, 2), (0.05, 4)])
async def test_requests_to_one_peer_overlap_up_to_its_limit(rtt: float, most: int) -> None:
    counting = Counting()
    counting.go_on = trio.Event()
    async with scripted(counting) as peer:
        pool = Pool(client_context(), DistantPeers(rtt))
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask, pool, peer)
            await trio.sleep(0.3)  # in which one more could wrongly come through
            assert counting.at_once == most
            counting.go_on.set()
        pool.close()
    assert (counting.most_at_once, counting.requests) == (most, 8)


class DistantPeers(Ledger):
    """Every peer is that far away, whatever is measured on loopback."""

    def __init__(self, rtt: float) -> None:
        super().__init__()
        self._rtt = rtt

    def stats(self, public_key: bytes) -> PeerStats:
        return replace(super().stats(public_key), rtt=self._rtt)


async def test_the_address_that_answers_is_found_and_remembered() -> None:
    counting = Counting()
    async with scripted(counting) as peer:
        silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
        dead = Endpoint("127.0.0.1", silent[0].socket.getsockname()[1])
        ledger = Ledger()
        pool = Pool(client_context(), ledger)
        both = Provider(peer.public_key, (dead, *peer.addresses))
        assert await ask(pool, both) == b"ok"
        assert ledger.stats(peer.public_key).endpoint == peer.addresses[0]
        pool.close()
        await silent[0].aclose()


async def test_without_an_address_that_works_there_is_one_error() -> None:
    pool = Pool(client_context(), Ledger())
    with pytest.raises(PeerUnavailableError):
        await ask(pool, Provider(b"k" * 32, ()))
    async with scripted(Counting()) as peer:
        with pytest.raises(WrongKeyError):
            await ask(pool, Provider(b"k" * 32, peer.addresses))


async def test_idle_connections_are_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_IDLE_SECONDS", 0.05)
    closed = trio.Event()

    async def once(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_answer(b"ok"))
        await stream.receive_some()
        closed.set()

    async with scripted(once) as peer, trio.open_nursery() as nursery:
        pool = Pool(client_context(), Ledger())
        nursery.start_soon(pool.close_old)
        await ask(pool, peer)
        with trio.fail_after(5):
            await closed.wait()
        nursery.cancel_scope.cancel()


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    counting = Counting()
    counting.go_on = trio.Event()
    async with scripted(counting) as peer:
        pool = Pool(client_context(), Ledger())
        for _ in range(5):
            with trio.move_on_after(0.05):
                await ask(pool, peer)
        counting.go_on.set()
        assert await ask(pool, peer) == b"ok"
        assert not pool._limits
        pool.close()
