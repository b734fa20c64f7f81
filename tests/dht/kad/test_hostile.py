"""What FACTS lists against kademlia and rpcudp, done to real nodes: each stays up and answers."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

import msgspec
import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.content.metainfo import SKEW_SECONDS, MetaInfo
from p2pfs.dht.kad import crawl
from p2pfs.dht.kad.estimate import SizeEstimate
from p2pfs.dht.kad.overlay import KadOverlay
from p2pfs.dht.kad.referrals import pack_referrals
from p2pfs.dht.kad.wire import (
    HEADER_BYTES,
    MAX_DATAGRAM_BYTES,
    Find,
    Get,
    Outcome,
    Ping,
    Reply,
    Request,
    Store,
    encode_request,
)
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.recordpages import encode_batches, parse_batch
from p2pfs.dht.records import create_provider_record, subjects_of
from p2pfs.dht.recordstore import RecordStoreError
from p2pfs.dht.subjects import Subject, provider_subject, tag_subject
from tests.dht.kad.nodes import (
    LOOPBACK,
    NETWORK,
    Stranger,
    cid_of,
    contact,
    expiry,
    identity,
    meta_of,
    open_node,
    open_stranger,
    wait_until,
)


@asynccontextmanager
async def open_victim() -> AsyncIterator[tuple[KadOverlay, Endpoint, Stranger]]:
    """A node, where it is, and a stranger that it has as a contact; beside them an honest node."""
    async with (
        open_stranger() as stranger,
        open_node() as (victim, address),
        open_node(address) as (honest, _),
        trio.open_nursery() as nursery,
    ):
        await honest.wait_settled()
        await wait_until(lambda: len(victim.contacts()) == 1)
        await stranger.make_known(address)
        nursery.start_soon(stranger.serve)
        await wait_until(lambda: len(victim.contacts()) == 2)
        yield victim, address, stranger
        nursery.cancel_scope.cancel()


async def _works(victim: KadOverlay) -> None:
    """Lookups end, soon, and the honest node takes part.

    Not always in the first: a datagram lost in a flood costs its receiver two seconds out of it.
    """
    with trio.fail_after(10):
        while not await victim.announce(cid_of(b"song"), expiry()):
            await trio.lowlevel.checkpoint()


_NODE = [bytes(20), None, 7117]
_EVIL_REPLIES = {
    "an IP of None, as in kademlia's own format": [_NODE],
    "a port of 70000": [[bytes(20), LOOPBACK, 70000]],
    "a port that is text": [[bytes(20), LOOPBACK, "7117"]],
    "a host name": [[bytes(20), "example.org", 7117]],
    "nothing": None,
    "a number": 7,
    "a map of lists": {"4": [_NODE], "c": "many"},
    "referrals of a broken length": {"4": bytes(39), "c": 0},
    "a token of the wrong length": {"t": b"short"},
    "more referrals than anybody may give": {"4": bytes(38 * 30), "c": 0},
    "a negative count": {"c": -1},
    "a value list of numbers": {"v": [1, 2, 3], "c": 1},
}


@pytest.mark.parametrize("body", _EVIL_REPLIES.values(), ids=_EVIL_REPLIES)
async def test_a_malformed_reply_harms_nothing_but_its_sender(body: object) -> None:
    async with open_victim() as (victim, _, stranger):
        stranger.answer = lambda _: msgspec.msgpack.encode(body)
        await _works(victim)
        assert stranger.asked


async def test_referrals_to_refused_addresses_are_never_asked() -> None:
    ips = ["0.0.0.0", "224.0.0.1", "10.1.2.3", "255.255.255.255", "100.64.0.1"]  # noqa: S104 never bound
    pairs = [(contact(number).public_key, Endpoint(ip, 7117)) for number, ip in enumerate(ips)]
    four, _ = pack_referrals(pairs)
    async with open_victim() as (victim, _, stranger):
        stranger.answer = lambda _: Reply(count=0, referrals_4=four)
        await _works(victim)
        assert {address.ip for address in victim._server.acquaintances._met} == {LOOPBACK}


async def test_endless_closer_answers_end() -> None:
    numbers = iter(range(1, 10**6))

    def closer(request: Request) -> Reply:
        pairs = [(contact(next(numbers)).public_key, Endpoint(LOOPBACK, 9)) for _ in range(20)]
        pairs = [(key, stranger.endpoint) for key, _ in pairs]
        return Reply(count=0, referrals_4=pack_referrals(pairs)[0])

    async with open_victim() as (victim, _, stranger):
        stranger.answer = closer
        await _works(victim)
        assert len(stranger.asked) < 200


async def test_referrals_to_the_dead_do_not_stall_a_lookup() -> None:
    pairs = [(contact(number).public_key, contact(number + 3).endpoint) for number in range(20)]
    four, _ = pack_referrals(pairs)
    async with open_victim() as (victim, _, stranger):
        stranger.answer = lambda _: Reply(count=0, referrals_4=four)
        started = time.monotonic()
        await _works(victim)
        assert time.monotonic() - started < 2


async def test_a_lookup_that_is_cut_short_says_nothing_of_how_large_the_network_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_victim() as (victim, _, stranger):
        stranger.answer = lambda _: None
        server = victim._server
        estimate = server.finder.estimate = SizeEstimate()
        before = (1 << 140).to_bytes(21, "big")
        estimate.restore(before)
        monkeypatch.setattr(crawl, "LOOKUP_SECONDS", 0.1)
        lookup = await victim._island.run(partial(server.finder.lookup, bytes(20)))
        assert lookup.closest()
        assert not lookup.is_over
        assert estimate.encode() == before


async def test_a_referral_evicts_nobody_and_lists_nobody() -> None:
    async with open_victim() as (victim, _, stranger):
        before = {each.public_key for each in victim.contacts()}
        four, _ = pack_referrals([(key, stranger.endpoint) for key in before] * 10)
        stranger.answer = lambda _: Reply(count=0, referrals_4=four)
        await _works(victim)
        assert {each.public_key for each in victim.contacts()} == before
        assert len({each.endpoint for each in victim.contacts()}) == 2


async def test_a_key_that_an_asker_cannot_prove_is_not_listed() -> None:
    async with open_victim() as (victim, address, _), open_stranger() as liar:
        token = await liar.token(address)
        stolen = contact(7).public_key
        for _ in range(20):
            await liar.ask(address, Find(token=token, sender=stolen, key=bytes(20)))
        await _works(victim)
        assert stolen not in {each.public_key for each in victim.contacts()}


async def test_garbage_is_dropped_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    noise = random.Random(7)
    async with open_victim() as (victim, address, _), open_stranger() as vandal:
        for _ in range(300):
            head = noise.choice([b"", b"\0", b"\1", b"\0" + bytes(20), b"\1" + bytes(20)])
            length = noise.choice([0, 1, 30, 200, MAX_DATAGRAM_BYTES + 500])
            await vandal.socket.sendto(head + noise.randbytes(length), (address.ip, address.port))
        for bomb in (b"\x91" * 1200, b"\x92\xa4find\x91" + b"\x81\xa1k" * 300):
            await vandal.socket.sendto(b"\0" + bytes(20) + bomb, (address.ip, address.port))
        await _works(victim)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_a_source_without_a_token_never_gets_more_than_it_sent() -> None:
    async with open_victim() as (_, address, _), open_stranger() as spoofer:
        for request in (
            Ping(),
            Ping(nonce=bytes(16), named=bytes(6)),
            Find(key=bytes(20), sender=bytes(32), nonce=bytes(16), named=bytes(6)),
            Get(key=bytes(20), token=b"x" * 16),
            Store(subject=tag_subject("jazz").encode(), value=bytes(1000)),
        ):
            datagram = encode_request(bytes(20), request)
            await spoofer.socket.sendto(datagram, (address.ip, address.port))
            with trio.move_on_after(0.1):
                reply, _ = await spoofer.socket.recvfrom(4096)
                assert len(reply) <= len(datagram)


async def test_a_reply_from_another_address_is_not_believed() -> None:
    async with (
        open_stranger() as stranger,
        open_stranger() as forger,
        open_node(stranger.endpoint) as (victim, _),
    ):
        datagram, address = await stranger.socket.recvfrom(4096)
        forged = b"\1" + datagram[1:HEADER_BYTES] + msgspec.msgpack.encode({"t": bytes(16)})
        await forger.socket.sendto(forged, address)
        await victim.wait_settled()
        assert victim.contacts() == ()


async def test_unsigned_foreign_or_misplaced_records_are_not_stored() -> None:
    store, publisher = MemoryRecordStore(), identity()
    meta = meta_of(publisher, b"song", "jazz")
    record = create_provider_record(
        [cid_of(b"song").multihash],
        [Endpoint("127.0.0.9", 7117)],
        expiry(),
        publisher.private_key,
        NETWORK,
    )
    song = provider_subject(cid_of(b"song").multihash)
    async with open_node(store=store) as (_, address), open_stranger() as stranger:
        token = await stranger.token(address)
        for subject, value in (
            (tag_subject("jazz").encode(), b"anything"),
            (tag_subject("rock").encode(), meta.encoded),
            (tag_subject("jazz").encode(), meta.encoded[:-1] + bytes([meta.encoded[-1] ^ 1])),
            (b"no subject", meta.encoded),
            (song.encode(), record.encoded),
        ):
            request = Store(token=token, subject=subject, value=value)
            assert (await stranger.ask(address, request)).outcome == Outcome.WRONG
        assert store.usage().values == 0
        good = Store(token=token, subject=tag_subject("jazz").encode(), value=meta.encoded)
        assert (await stranger.ask(address, good)).outcome == Outcome.STORED


async def test_a_record_is_replaced_by_its_publisher_alone_and_only_by_a_newer_one() -> None:
    publisher, other = identity(), identity()
    old, new = (meta_of(publisher, b"song", "jazz", seq=seq) for seq in (1, 2))
    foreign = meta_of(other, b"song", "jazz", seq=3)
    subject = tag_subject("jazz")
    async with open_node() as (_, address), open_stranger() as stranger:
        token = await stranger.token(address)

        async def store(value: bytes) -> Outcome | None:
            request = Store(token=token, subject=subject.encode(), value=value)
            return (await stranger.ask(address, request)).outcome

        assert await store(new.encoded) == Outcome.STORED
        assert await store(old.encoded) == Outcome.KEPT_NEWER
        assert await store(foreign.encoded) == Outcome.STORED
        reply = await stranger.ask(address, Get(token=token, key=subject.key))
        assert set(reply.values or ()) == {new.encoded, foreign.encoded}


async def test_a_holder_that_hands_out_a_wrong_record_is_not_heard() -> None:
    own = identity()
    wrong = meta_of(identity(), b"noise", "rock").encoded

    def answer(request: Request) -> Reply:
        if isinstance(request, Get):
            return Reply(values=(wrong,))
        return Reply(count=1)

    async with open_victim() as (victim, _, stranger):
        stranger.answer = answer
        await victim.publish(meta_of(own, b"song", "jazz"))
        found: list[object] = []
        await victim.search("jazz", found.append)
        assert len(found) == 1


async def test_what_has_not_yet_expired_by_a_holders_clock_hides_nothing_else() -> None:
    over = meta_of(identity(), b"noise", "jazz", expires=int(time.time()) - SKEW_SECONDS - 5)
    good = meta_of(identity(), b"song", "jazz")

    def answer(request: Request) -> Reply:
        values = (over.encoded, good.encoded)
        return Reply(values=values) if isinstance(request, Get) else Reply(count=2)

    async with open_victim() as (victim, _, stranger):
        stranger.answer = answer
        found: list[MetaInfo] = []
        await victim.search("jazz", found.append)
        assert [meta.cid for meta in found] == [good.cid]


async def test_a_holder_that_goes_silent_before_it_is_read_costs_a_moment() -> None:
    def answer(request: Request) -> Reply | None:
        return None if isinstance(request, Get) else Reply(count=5)

    async with open_victim() as (victim, _, stranger):
        stranger.answer = answer
        await victim.publish(meta_of(identity(), b"song", "jazz"))
        found: list[object] = []
        started = time.monotonic()
        await victim.search("jazz", found.append)
        assert len(found) == 1
        assert time.monotonic() - started < 1.5


async def test_a_holder_that_takes_no_more_datagrams_gets_one_post() -> None:
    posted: list[tuple[Subject, bytes]] = []

    async def post_records(key: bytes, _address: Endpoint, batch: bytes) -> list[bool]:
        assert key == busy.identity.public_key
        posted.extend(parse_batch(batch))
        return [True] * len(posted)

    def answer(request: Request) -> Reply:
        return Reply(outcome=Outcome.BUSY) if isinstance(request, Store) else Reply(count=0)

    own = identity()
    meta = meta_of(own, b"song", "jazz", "music")
    async with open_stranger() as busy, trio.open_nursery() as nursery:
        busy.answer = answer
        nursery.start_soon(busy.serve)
        async with open_node(busy.endpoint, own=own, post_records=post_records) as (publisher, _):
            assert await publisher.publish(meta) == 1
        nursery.cancel_scope.cancel()
    assert set(posted) == {(subject, meta.encoded) for subject in subjects_of(meta)}


async def test_a_cancelled_call_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    async with open_victim() as (victim, _, stranger):
        stranger.answer = lambda _: None
        for _ in range(5):
            with trio.move_on_after(0.05):
                await victim.search("jazz", lambda _: None)
        await wait_until(lambda: victim._server.protocol.open_calls == 0)
        assert victim._server.asker._handshakes == {}
        await _works(victim)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


class BrokenDisk(MemoryRecordStore):
    """Can be written to and not read."""

    def _fail(self, *_: object) -> NoReturn:
        raise RecordStoreError("the disk fails")

    rows = page = count = estimate = keep_contacts = keep_estimate = _fail


async def test_a_disk_that_fails_hides_nothing_that_others_hold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    meta = meta_of(identity(), b"song", "jazz")
    async with open_node() as (holder, first):
        for batch in encode_batches([(tag_subject("jazz"), meta.encoded)]):
            await holder.accept(batch, LOOPBACK)
        async with open_node(first, store=BrokenDisk()) as (broken, address):
            found: list[MetaInfo] = []
            with trio.fail_after(10):
                await broken.search("jazz", found.append)
            assert found == [meta]
            async with open_stranger() as stranger:
                token = await stranger.token(address)
                reply = await stranger.ask(address, Find(token=token, key=bytes(20)))
                assert len(reply.referrals_4 or b"") == 38
                assert await stranger.ask(address, Get(token=token, key=bytes(20))) == Reply()
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert {(each.getMessage().partition(":")[0], each.exc_info) for each in warnings} == {
        ("the overlay does not know how large it was", None),
        ("contacts are not kept for the next run", None),
        ("what is stored here is left out of a search", None),
    }


async def test_a_handler_that_raises_is_logged_once_and_the_node_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class BrokenStore(MemoryRecordStore):
        def count(self, key: bytes, now: int) -> int:  # noqa: ARG002 the store's own signature
            raise ZeroDivisionError

    async with open_node(store=BrokenStore()) as (_, address), open_stranger() as stranger:
        token = await stranger.token(address)
        with trio.move_on_after(0.1):
            await stranger.ask(address, Find(token=token, key=bytes(20)))
        assert (await stranger.ask(address, Ping(token=token))) == Reply()
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
