from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.content.metainfo import SKEW_SECONDS, MetaInfo
from p2pfs.dht.kad import tending
from p2pfs.dht.kad.opening import open_overlay
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.overlay import Overlay, Provider
from p2pfs.dht.recordpages import (
    MAX_PAGE_VALUE_BYTES,
    encode_batches,
    encode_named,
    encode_page,
)
from p2pfs.dht.records import create_provider_record, record_of
from p2pfs.dht.subjects import Subject, parse_subject, provider_subject, tag_subject
from p2pfs.errors import MalformedError, NoPeersError, NotRunningError
from p2pfs.identity import Identity
from tests.dht.kad.nodes import (
    LOOPBACK,
    NETWORK,
    cid_of,
    expiry,
    free_port,
    identity,
    meta_of,
    no_page,
    no_post,
    open_node,
    open_stranger,
    udp_socket,
    wait_until,
)
from tests.dht.overlay_suite import Join, OverlaySuite


class TestTheKademliaOverlay(OverlaySuite):
    @pytest.fixture
    async def join(self) -> AsyncIterator[Join]:
        """Nodes on loopback, each knowing only the one before it."""
        addresses: list[Endpoint] = []
        overlays: list[KadOverlay] = []
        async with AsyncExitStack() as nodes:

            async def join(own: Identity) -> Overlay:
                overlay, address = await nodes.enter_async_context(
                    open_node(*addresses[-1:], own=own)
                )
                addresses.append(address)
                overlays.append(overlay)
                others = len(overlays) - 1
                await wait_until(lambda: all(len(each.contacts()) == others for each in overlays))
                return overlay

            yield join


async def _chain(nodes: AsyncExitStack, length: int) -> list[KadOverlay]:
    """Nodes started last first, each knowing only the one before it."""
    sockets = [udp_socket() for _ in range(length)]
    addresses = [Endpoint(LOOPBACK, sock.getsockname()[1]) for sock in sockets]
    overlays = []
    for place in reversed(range(length)):
        known = addresses[max(0, place - 1) : place]
        overlay, _ = await nodes.enter_async_context(open_node(*known, sock=sockets[place]))
        overlays.insert(0, overlay)
    return overlays


async def test_a_chain_that_starts_in_the_wrong_order_shares_records_within_two_seconds() -> None:
    async with AsyncExitStack() as nodes:
        started = time.monotonic()
        first, *_, last = await _chain(nodes, 4)
        found: list[Provider] = []
        while not found:
            await first.announce(cid_of(b"song"), expiry())
            await _search_quietly(last, found)
        assert time.monotonic() - started < 2


async def test_a_search_finds_records_that_were_stored_before_the_searcher_came() -> None:
    async with open_node() as (first, address), open_node(address) as (_, second):
        await wait_until(lambda: len(first.contacts()) == 1)
        assert await first.announce(cid_of(b"song"), expiry()) == 1
        async with open_node(second) as (third, _):
            found: list[Provider] = []
            await third.providers(cid_of(b"song"), found.append)
            assert len(found) == 1


async def test_a_node_that_starts_before_its_peer_finds_it_later() -> None:
    port = free_port()
    async with open_node(Endpoint(LOOPBACK, port)) as (early, _):
        await early.wait_settled()
        assert early.contacts() == ()
        async with open_node(sock=udp_socket(port)):
            await wait_until(lambda: len(early.contacts()) == 1)


async def test_a_node_that_comes_back_at_another_port_is_found_there() -> None:
    own, store = identity(), MemoryRecordStore()
    async with open_node() as (stays, address):
        async with open_node(address, own=own, store=store) as (leaves, _):
            await leaves.announce(cid_of(b"song"), expiry())
        async with open_node(own=own, store=store) as (returns, moved):
            await returns.wait_settled()  # by the contacts it kept
            await returns.announce(cid_of(b"song"), expiry() + 1)
            await wait_until(lambda: stays.contacts()[0].endpoint == moved)
            assert len(stays.contacts()) == 1
            found: list[Provider] = []
            await stays.providers(cid_of(b"song"), found.append)
            assert Endpoint(LOOPBACK, moved.port) in [
                address for provider in found for address in provider.addresses
            ]


async def test_publishing_is_quick_beside_a_dead_contact() -> None:
    own = identity()
    async with open_node(own=own) as (publisher, address):
        async with open_node(address) as (dead, _):
            await dead.wait_settled()
            async with open_node(address) as (alive, _):
                await alive.wait_settled()
                await wait_until(lambda: len(publisher.contacts()) == 2)
        # Both are gone now; another one lives.
        async with open_node(address) as (alive, _):
            await alive.wait_settled()
            await wait_until(lambda: len(publisher.contacts()) == 3)
            started = time.monotonic()
            assert await publisher.publish(meta_of(own, b"song", "jazz", "music")) == 1
            assert time.monotonic() - started < 1


async def test_a_node_knows_where_it_is_seen() -> None:
    async with open_node() as (_, first), open_node(first) as (second, address):
        await second.wait_settled()
        await wait_until(lambda: second.observed() == (address,))
        assert second.own_addresses() == (Endpoint(LOOPBACK, address.port),)


async def test_who_is_near_by_is_no_evidence_of_what_strangers_reach() -> None:
    async with open_node() as (asked, address), open_node(address):
        await wait_until(lambda: len(asked.contacts()) == 1)
        server = asked._server
        assert server.is_server  # to those near by
        assert not server.reachability.is_heard(server.monotonic())


async def test_a_peer_that_is_added_later_is_joined() -> None:
    async with open_node() as (_, address), open_node() as (late, _):
        await late.wait_settled()
        await late.add_peer(address)
        await wait_until(lambda: len(late.contacts()) == 1)


async def test_a_node_that_is_named_its_own_peer_stays_alone() -> None:
    sock = udp_socket()
    own = Endpoint(LOOPBACK, sock.getsockname()[1])
    async with open_node(own, sock=sock) as (overlay, _):
        await overlay.wait_settled()
        assert overlay.contacts() == ()


async def test_more_records_than_a_datagram_holds_come_over_https() -> None:
    store, publisher = MemoryRecordStore(), identity()
    metas = [meta_of(publisher, b"%d" % number, "jazz") for number in range(40)]

    async def fetch_page(
        key: bytes, address: Endpoint, subject: bytes, cursor: bytes, _known: bytes
    ) -> bytes:
        asked.append((key, address))
        page = store.page(parse_subject(subject).key, cursor, 4_000, int(time.time()))
        return encode_page((record.value for record in page.records), page.next)

    asked: list[tuple[bytes, Endpoint]] = []
    own = identity()
    async with open_node(store=store, own=own) as (holder, address):
        for batch in encode_batches([(tag_subject("jazz"), meta.encoded) for meta in metas]):
            assert await holder.accept(batch, LOOPBACK) == [True] * len(metas)
        async with open_node(address, fetch_page=fetch_page) as (reader, _):
            found: list[MetaInfo] = []
            await reader.search("jazz", found.append)
    assert {meta.encoded for meta in found} == {meta.encoded for meta in metas}
    assert len(found) == len(metas)
    assert set(asked) == {(own.public_key, address)}
    assert MAX_PAGE_VALUE_BYTES > 4_000


async def test_pages_go_on_past_what_has_not_yet_expired_by_the_holders_clock() -> None:
    over = int(time.time()) - SKEW_SECONDS - 5
    metas = [meta_of(identity(), b"%d" % number, "jazz") for number in range(3)]
    pages = [[meta_of(identity(), b"over", "jazz", expires=over), metas[0]], metas[1:]]

    async def fetch_page(
        _key: bytes, _at: Endpoint, _: bytes, cursor: bytes, _known: bytes
    ) -> bytes:
        page = pages[len(cursor)]
        return encode_page((meta.encoded for meta in page), None if cursor else b"2")

    store = MemoryRecordStore()
    async with open_node(store=store) as (holder, address):
        many = [meta_of(identity(), b"m%d" % number, "jazz") for number in range(20)]
        for batch in encode_batches([(tag_subject("jazz"), meta.encoded) for meta in many]):
            await holder.accept(batch, LOOPBACK)
        async with open_node(address, fetch_page=fetch_page) as (reader, _):
            found: list[MetaInfo] = []
            await reader.search("jazz", found.append)
    assert {meta.cid for meta in metas} <= {meta.cid for meta in found}


async def test_repair_goes_on_past_what_has_not_yet_expired_by_a_neighbours_clock() -> None:
    over = meta_of(identity(), b"over", "jazz", expires=int(time.time()) - SKEW_SECONDS - 5)
    good, wrong = (meta_of(identity(), name, "jazz") for name in (b"good", b"wrong"))
    jazz, rock = tag_subject("jazz"), tag_subject("rock")

    def told(*records: tuple[Subject, MetaInfo]) -> bytes:
        told = [(record_of(subject, meta), "127.0.0.0") for subject, meta in records]
        return encode_named(told)

    store = MemoryRecordStore()
    async with open_node(store=store) as (node, _):
        assert await node.tending.take(told((jazz, over), (jazz, good)), LOOPBACK) == 1
        with pytest.raises(MalformedError):
            await node.tending.take(told((rock, wrong)), LOOPBACK)
    assert store.count(jazz.key, int(time.time())) == 1


async def test_a_neighbour_without_end_keeps_repair_from_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tending, "NEIGHBOUR_SECONDS", 0.2)
    asked: set[bytes] = set()

    async def fetch_names(key: bytes, *_: object) -> bytes:
        asked.add(key)
        return await trio.sleep_forever()

    async def fetch_named(*_: object) -> bytes:
        raise AssertionError

    async with (
        open_node() as (node, address),
        open_node(address) as (other, _),
        open_node(address) as (third, _),
        trio.open_nursery() as nursery,
    ):
        await wait_until(lambda: all(len(each.contacts()) == 2 for each in (node, other, third)))
        nursery.start_soon(node.tending.repair, fetch_names, fetch_named)
        await wait_until(lambda: len(asked) == 2)
        nursery.cancel_scope.cancel()


async def test_a_holder_without_https_gives_what_datagrams_hold() -> None:
    publisher = identity()
    async with open_node() as (holder, address), open_node(address) as (reader, _):
        metas = [meta_of(publisher, b"%d" % number, "jazz") for number in range(40)]
        for batch in encode_batches([(tag_subject("jazz"), meta.encoded) for meta in metas]):
            await holder.accept(batch, LOOPBACK)
        found: list[MetaInfo] = []
        await reader.search("jazz", found.append)
    assert found


async def test_a_batch_counts_only_what_is_right() -> None:
    own, other = identity(), identity()
    good = meta_of(own, b"song", "jazz").encoded
    record = create_provider_record(
        [cid_of(b"song").multihash],
        [Endpoint("127.0.0.9", 7117)],
        expiry(),
        other.private_key,
        NETWORK,
    )
    elsewhere = provider_subject(cid_of(b"song").multihash), record.encoded
    wrong = (tag_subject("jazz"), good[:-1] + bytes([good[-1] ^ 1]))
    about_else = (tag_subject("rock"), good)
    [batch] = encode_batches([(tag_subject("jazz"), good), wrong, about_else, elsewhere])
    async with open_node() as (overlay, _):
        assert await overlay.accept(batch, LOOPBACK) == [True, False, False, False]


async def test_stopping_takes_less_than_a_second_with_lookups_in_flight() -> None:
    async with open_stranger() as silent, trio.open_nursery() as nursery:
        async with open_node(silent.endpoint) as (overlay, _):
            for number in range(20):
                nursery.start_soon(_search_to_the_end, overlay, f"tag-{number}")
            await trio.testing.wait_all_tasks_blocked(0.05)
            started = time.monotonic()
        assert time.monotonic() - started < 1


async def test_a_node_that_has_ended_says_so() -> None:
    async with open_node() as (overlay, _):
        pass
    with pytest.raises(NotRunningError):
        await overlay.search("jazz", lambda _: None)


async def test_ipv6_works_as_well() -> None:
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    sock.setblocking(False)
    async with AsyncExitStack() as nodes:
        _, address = await nodes.enter_async_context(open_node(sock=sock))
        six = Endpoint("::1", address.port)
        other = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        other.bind(("::1", 0))
        other.setblocking(False)
        overlay, _ = await nodes.enter_async_context(open_node(six, sock=other))
        await wait_until(lambda: len(overlay.contacts()) == 1)
        assert await overlay.announce(cid_of(b"song"), expiry()) == 1


async def test_a_node_answers_from_the_socket_it_was_asked_at() -> None:
    """As with one socket for each of two networks of the same family."""
    one, other = udp_socket(), udp_socket()
    async with open_overlay(
        identity=identity(),
        network=NETWORK,
        neighbourhood=Neighbourhood(),
        sockets=[one, other],
        https_port=7117,
        store=MemoryRecordStore(),
        fetch_page=no_page,
        post_records=no_post,
    ):
        for sock in (one, other):
            address = Endpoint(LOOPBACK, sock.getsockname()[1])
            async with open_node(address) as (asker, _):
                await asker.wait_settled()
                await wait_until(lambda: len(asker.contacts()) == 1)


async def _search_quietly(overlay: KadOverlay, found: list[Provider]) -> None:
    try:
        await overlay.providers(cid_of(b"song"), found.append)
    except NoPeersError:
        await trio.sleep(0.01)


async def _search_to_the_end(overlay: KadOverlay, tag: str) -> None:
    with pytest.raises((NotRunningError, NoPeersError)):
        await overlay.search(tag, lambda _: None)
