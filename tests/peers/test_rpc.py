"""The overlay over HTTPS, between real nodes, sockets and TLS: whoever has no UDP takes part."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.concurrency import open_nursery
from p2pfs.content.metainfo import MetaInfo
from p2pfs.dht.kad import lookout
from p2pfs.dht.kad.wire import MAX_DATAGRAM_BYTES, Ping, encode_request
from p2pfs.dht.overlay import Provider
from p2pfs.network import Network, private_network
from p2pfs.peers.contents import Contents
from p2pfs.peers.errors import PeerBusyError, PeerLacksError, PeerUnavailableError
from p2pfs.peers.gateway import Gateway
from p2pfs.peers.rpc import OBSERVED_PATH, RPC_PATH, Rpc, observed
from p2pfs.peers.strangers import open_strangers
from tests.dht.kad.nodes import LOOPBACK, NETWORK, cid_of, expiry, meta_of, wait_until
from tests.peers.blocked import Firewall, Peer, open_peer
from tests.peers.fakes import Counting, MemoryBlocks, answering, http_answer, scripted, serving

PRIVATE = private_network("kad-tests", b"a secret of the tests")


@asynccontextmanager
async def three_and_one(
    firewall: Firewall, network: Network = NETWORK
) -> AsyncIterator[tuple[list[Peer], Peer]]:
    """Three nodes that know each other, and one behind a firewall that knows the first."""
    async with (
        open_peer(network=network) as first,
        open_peer(first.address, network=network) as second,
    ):
        await wait_until(lambda: len(first.kad.contacts()) == 1)
        async with open_peer(first.address, network=network) as third:
            others = [first, second, third]
            await wait_until(lambda: all(len(each.kad.contacts()) == 2 for each in others))
            async with open_peer(first.address, network=network, firewall=firewall) as blocked:
                yield others, blocked


@pytest.mark.parametrize("network", [NETWORK, PRIVATE], ids=["public", "private"])
async def test_a_node_without_udp_joins_publishes_and_finds(network: Network) -> None:
    async with three_and_one(Firewall(), network) as (others, blocked):
        started = time.monotonic()
        await blocked.kad.wait_settled()
        await wait_until(lambda: len(blocked.kad.contacts()) == 3)
        assert time.monotonic() - started < 5
        assert blocked.kad.is_blocked
        assert {each.ip for each in blocked.kad.observed()} == {LOOPBACK}
        if network is NETWORK:
            await _publishes_and_finds(blocked, others[2])
        assert await blocked.kad.announce(cid_of(b"song"), expiry()) == 3
        found: list[Provider] = []
        await others[1].kad.providers(cid_of(b"song"), found.append)
        assert found == [Provider(blocked.own.public_key, (blocked.address,))]


async def _publishes_and_finds(blocked: Peer, other: Peer) -> None:
    meta, theirs = meta_of(blocked.own, b"mine", "jazz"), meta_of(other.own, b"theirs", "rock")
    assert await blocked.kad.publish(meta) == 3
    assert await other.kad.publish(theirs) == 2
    found: list[MetaInfo] = []
    await other.kad.search("jazz", found.append)
    await blocked.kad.search("rock", found.append)
    assert {each.cid for each in found} == {meta.cid, theirs.cid}


async def test_nobody_lists_a_node_without_udp() -> None:
    async with three_and_one(Firewall()) as (others, blocked):
        await wait_until(lambda: len(blocked.kad.contacts()) == 3)
        await blocked.kad.announce(cid_of(b"song"), expiry())
        assert not blocked.kad.is_server
        for each in others:
            await each.kad.announce(cid_of(b"another"), expiry())
            assert len(each.kad.contacts()) == 2


async def test_a_node_goes_back_to_udp_when_it_gets_through_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookout, "PROBE_SECONDS", 0.1)
    firewall = Firewall()
    async with three_and_one(firewall) as (others, blocked):
        await wait_until(lambda: blocked.kad.is_blocked)
        firewall.is_up = False
        await wait_until(lambda: not blocked.kad.is_blocked)
        await blocked.kad.announce(cid_of(b"song"), expiry())
        await wait_until(lambda: all(len(each.kad.contacts()) == 3 for each in others))
        assert blocked.kad.is_server


async def test_a_node_whose_udp_ends_goes_on_by_https() -> None:
    firewall = Firewall(is_up=False)
    async with three_and_one(firewall) as (_, blocked):
        await wait_until(lambda: len(blocked.kad.contacts()) == 3)
        assert not blocked.kad.is_blocked
        firewall.is_up = True
        with trio.fail_after(20):
            while await blocked.kad.announce(cid_of(b"song"), expiry()) < 3:
                await trio.lowlevel.checkpoint()
        await wait_until(lambda: blocked.kad.is_blocked, seconds=1)


async def test_a_node_that_hears_others_does_not_go_to_one_by_https() -> None:
    """Also if it has asked nobody else for long: it asks somebody that has answered before."""
    firewall = Firewall(is_up=False)
    async with three_and_one(firewall) as (others, blocked):
        await wait_until(lambda: all(len(each.kad.contacts()) == 3 for each in others))
        firewall.is_up = True
        first = others[0].kad
        await first.announce(cid_of(b"song"), expiry())
        await wait_until(lambda: not all(each.answers for each in first.contacts()))
        with trio.move_on_after(6):
            await wait_until(lambda: first.is_blocked)
        assert not first.is_blocked
        assert [each.endpoint for each in first.contacts() if not each.answers] == [blocked.address]


@pytest.mark.parametrize("network", [NETWORK, PRIVATE], ids=["public", "private"])
async def test_hostile_bodies_get_a_refusal(network: Network) -> None:
    async with open_peer(network=network) as node, open_strangers(network.members) as strangers:
        for body in (b"", b"\0" * 30, bytes(MAX_DATAGRAM_BYTES), bytes(MAX_DATAGRAM_BYTES + 1)):
            with pytest.raises(PeerUnavailableError):
                await strangers.ask(node.address, body)
        ping = encode_request(bytes(20), Ping())
        if network is PRIVATE:  # a member that seals nothing, or another network's who got in
            with pytest.raises(PeerUnavailableError):
                await strangers.ask(node.address, ping)
        else:
            reply, key = await strangers.ask(node.address, ping)
            assert (reply, key) == (b"\1" + bytes(20) + b"\x80", node.own.public_key)


@asynccontextmanager
async def web(reply: bytes | None = b"reply") -> AsyncIterator[tuple[httpx.AsyncClient, Endpoint]]:
    """A client that nobody here wrote, at a node that answers every request so; where that is."""

    async def answer(_body: bytes, _source: Endpoint) -> bytes | None:
        return reply

    answers = {RPC_PATH: Rpc(answer).answer, OBSERVED_PATH: observed}
    gateway = Gateway(Contents(MemoryBlocks()), answers, lambda _: True)  # type: ignore[arg-type]
    async with serving(gateway) as peer:
        [address] = peer.addresses
        url = f"https://{address}"
        async with httpx.AsyncClient(base_url=url, verify=False, trust_env=False) as client:  # noqa: S501 the key is not the point
            yield client, address


async def test_only_a_post_of_a_datagram_is_answered() -> None:
    async with web() as (client, _):
        assert (await client.get(RPC_PATH)).status_code == 405
        assert (await client.post(RPC_PATH, content=bytes(1_233))).status_code == 413
        answer = await client.post(RPC_PATH, content=bytes(MAX_DATAGRAM_BYTES))
        assert (answer.status_code, answer.content) == (200, b"reply")
        assert answer.headers["content-type"] == "application/octet-stream"


async def test_who_asks_too_often_is_told_so() -> None:
    async with web(reply=None) as (client, address), open_strangers() as strangers:
        answer = await client.post(RPC_PATH, content=bytes(30))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        with pytest.raises(PeerBusyError):
            await strangers.ask(address, bytes(30))


async def test_an_asker_is_told_where_it_comes_from() -> None:
    async with web() as (client, _):
        answer = await client.get(OBSERVED_PATH)
        port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
        assert answer.text == f"{LOOPBACK}:{port}"
        assert (await client.post(OBSERVED_PATH)).status_code == 405


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(bytes(MAX_DATAGRAM_BYTES + 1)),
        http_answer(b"not here", status="404 Not Found"),
        b"HTTP/1.1 200 OK\r\n\r\nwithout end",
        b"no HTTP at all\r\n\r\n",
    ],
    ids=["too long", "an older version", "no length", "something else"],
)
async def test_an_answer_that_is_no_reply_is_an_error(answer: bytes) -> None:
    async with scripted(answering(answer)) as peer, open_strangers() as strangers:
        with pytest.raises((PeerUnavailableError, PeerLacksError)):
            await strangers.ask(peer.addresses[0], bytes(30))


async def test_a_node_is_asked_two_things_at_once_and_no_more() -> None:
    at_once: list[int] = [0]

    async def answer(body: bytes, _source: Endpoint) -> bytes:
        at_once.append(at_once[-1] + 1)
        await trio.sleep(0.01)
        at_once.append(at_once[-1] - 1)
        return body

    gateway = Gateway(Contents(MemoryBlocks()), {RPC_PATH: Rpc(answer).answer}, lambda _: True)  # type: ignore[arg-type]
    async with serving(gateway) as peer, open_strangers() as strangers, open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(strangers.ask, peer.addresses[0], bytes(30))
    assert max(at_once) == 2
    assert len(at_once) == 21


async def test_two_nodes_on_one_machine_are_not_mistaken_for_each_other() -> None:
    async with (
        scripted(Counting(), "one") as one,
        scripted(Counting(), "other") as other,
        open_strangers() as strangers,
    ):
        for peer in (one, other):
            _, key = await strangers.ask(peer.addresses[0], bytes(30))
            assert key == peer.public_key
