"""The client against the real gateway over real TLS, and against peers that misbehave."""

from __future__ import annotations

import os
import random

import pytest
import trio

from p2pfs.content.car import block_prefix, encode_header
from p2pfs.content.cid import MAX_BLOCK_BYTES, cid_of, parse_cid
from p2pfs.content.intervals import Intervals
from p2pfs.dht.kad.repairing import Region
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.recordpages import parse_page
from p2pfs.dht.records import Record
from p2pfs.dht.subjects import tag_subject
from p2pfs.errors import MalformedError
from p2pfs.peers import client
from p2pfs.peers import pages as pages_module
from p2pfs.peers.client import open_client
from p2pfs.peers.errors import (
    PeerBusyError,
    PeerLacksError,
    PeerSilentError,
    PeerUnavailableError,
    WrongBlockError,
    WrongKeyError,
)
from p2pfs.peers.gateway import Gateway
from p2pfs.peers.streams.tls import TlsStream
from tests.content.dags import Dag, balanced, file_block, trickle
from tests.peers.fakes import (
    MemoryBlocks,
    MemorySink,
    answering,
    car,
    gateway_of,
    http_answer,
    provider,
    scripted,
    serving,
)

CHUNK = 256 * 1024
FILE = balanced(random.Random(7).randbytes(20 * CHUNK + 5), CHUNK, 4)


def gateway(*dags: Dag, near: bool = True) -> Gateway:
    return gateway_of(MemoryBlocks(*dags), near=near)


def content_of(dag: Dag) -> bytes:
    return b"".join(block for cid, block in dag.blocks.items() if cid.codec == 0x55)


async def test_a_file_arrives_whole_and_is_counted() -> None:
    async with serving(gateway(FILE)) as peer, open_client() as asking:
        sink = MemorySink(FILE.size)
        await asking.fetch_range(peer, FILE.root, FILE.size, 0, FILE.size, sink)
        stats = asking.stats(peer.public_key)
    assert sink.content == content_of(FILE)
    assert sink.landed_bytes == FILE.size == stats.fetched
    assert set(sink.nodes) == {cid for cid in FILE.blocks if cid.codec == 0x70}
    assert stats.rate is not None
    assert stats.rtt is not None
    assert (stats.failures, stats.wrong) == (0, 0)


async def test_a_range_of_a_file_of_unknown_size_brings_its_root() -> None:
    async with serving(gateway(FILE)) as peer, open_client() as asking:
        sink = MemorySink(FILE.size)
        await asking.fetch_range(peer, FILE.root, None, 0, 1, sink)
    assert FILE.root in sink.nodes
    assert sink.spans == [(0, CHUNK)]


async def test_a_peer_says_which_content_of_a_file_it_has() -> None:
    async with serving(gateway(FILE)) as peer, open_client() as asking:
        assert await asking.fetch_held(peer, FILE.root) == Intervals([(0, FILE.size)])
        with pytest.raises(PeerLacksError):
            await asking.fetch_held(peer, balanced(b"never seen").root)
        assert asking.stats(peer.public_key).failures == 0


@pytest.mark.parametrize("body", [b"\x00", b"\x00\x00", b"\xff" * 20])
async def test_nonsense_about_what_a_peer_has_is_a_failure_of_its(body: bytes) -> None:
    async with scripted(answering(http_answer(body))) as peer, open_client() as asking:
        with pytest.raises(PeerUnavailableError):
            await asking.fetch_held(peer, FILE.root)


async def test_only_what_a_range_needs_crosses_the_network() -> None:
    served = gateway(FILE)
    async with serving(served) as peer, open_client() as asking:
        sink = MemorySink(FILE.size)
        middle = 10 * CHUNK + 100
        await asking.fetch_range(peer, FILE.root, FILE.size, middle, middle + 10, sink)
    assert sink.spans == [(10 * CHUNK, 11 * CHUNK)]
    assert served.served_bytes < CHUNK + 2_000


@pytest.mark.parametrize("dag", [trickle(os.urandom(500)), balanced(b""), balanced(b"small")])
async def test_other_layouts_arrive_too(dag: Dag) -> None:
    async with serving(gateway(dag)) as peer, open_client() as asking:
        sink = MemorySink(dag.size)
        await asking.fetch_range(peer, dag.root, dag.size, 0, dag.size, sink)
    assert sink.landed_bytes == dag.size


async def test_an_inline_file_costs_no_block() -> None:
    root = parse_cid("bafkqablimvwgy3y")
    async with serving(gateway()) as peer, open_client() as asking:
        sink = MemorySink(5)
        with pytest.raises(PeerLacksError):
            await asking.fetch_range(peer, FILE.root, 5, 0, 5, sink)
        assert await asking.fetch_block(peer, root) == b"hello"


async def test_several_requests_to_one_peer_run_at_once() -> None:
    async with serving(gateway(FILE)) as peer, open_client() as asking:
        sink = MemorySink(FILE.size)
        async with trio.open_nursery() as nursery:
            for start in range(0, FILE.size, 2 * CHUNK):
                stop = min(FILE.size, start + 2 * CHUNK)
                args = (peer, FILE.root, FILE.size, start, stop, sink)
                nursery.start_soon(asking.fetch_range, *args)
        assert sink.content == content_of(FILE)


@pytest.mark.parametrize("at", [0, 5, 19])
async def test_one_flipped_bit_is_found_and_what_came_before_it_stays(at: int) -> None:
    raw = bytearray(car(FILE))
    leaf = content_of(FILE)[at * CHUNK : (at + 1) * CHUNK]
    raw[raw.index(leaf) + 1_000] ^= 4
    async with scripted(answering(http_answer(bytes(raw)))) as peer, open_client() as asking:
        sink = MemorySink(FILE.size)
        with pytest.raises(WrongBlockError):
            await asking.fetch_range(peer, FILE.root, FILE.size, 0, FILE.size, sink)
        assert asking.stats(peer.public_key).wrong == 1
    assert sink.landed_bytes == at * CHUNK
    assert sink.content[: at * CHUNK] == content_of(FILE)[: at * CHUNK]
    assert not any(sink.content[at * CHUNK :])


async def test_what_came_before_an_answer_was_cut_stays() -> None:
    async def cut(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_answer(car(FILE))[: 10 * CHUNK])

    async with scripted(cut) as peer, open_client() as asking:
        sink = MemorySink(FILE.size)
        with pytest.raises(PeerUnavailableError):
            await asking.fetch_range(peer, FILE.root, FILE.size, 0, FILE.size, sink)
        assert asking.stats(peer.public_key).failures == 1
    assert sink.landed_bytes == 9 * CHUNK


async def test_a_slow_peers_blocks_land_before_its_answer_ends() -> None:
    go_on = trio.Event()

    async def halting(stream: TlsStream) -> None:
        await stream.receive_some()
        answer = http_answer(car(FILE))
        await stream.send_all(answer[: 2 * CHUNK])
        await go_on.wait()
        await stream.send_all(answer[2 * CHUNK :])

    async with scripted(halting) as peer, open_client() as asking:
        sink = MemorySink(FILE.size)
        async with trio.open_nursery() as nursery:
            args = (peer, FILE.root, FILE.size, 0, FILE.size, sink)
            nursery.start_soon(asking.fetch_range, *args)
            with trio.fail_after(3):
                await sink.wait_landed.wait()
            go_on.set()
    assert sink.content == content_of(FILE)


async def test_a_peer_with_another_key_sees_no_request() -> None:
    async def note(stream: TlsStream) -> None:
        assert not await stream.receive_some()

    async with scripted(note) as peer, open_client() as asking:
        impostor = provider(peer.addresses[0].port, "somebody else")
        with pytest.raises(WrongKeyError):
            await asking.fetch_block(impostor, FILE.root)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("404 Not Found", PeerLacksError),
        ("429 Too Many", PeerBusyError),
        ("503 Busy", PeerBusyError),
        ("500 Oh", PeerUnavailableError),
        ("302 Found", PeerUnavailableError),
        ("206 Part", PeerUnavailableError),
    ],
)
async def test_each_status_is_one_error(status: str, error: type[Exception]) -> None:
    answer = http_answer(b"", "Location: http://127.0.0.1:1/", status=status)
    async with scripted(answering(answer)) as peer, open_client() as asking:
        with pytest.raises(error):
            await asking.fetch_block(peer, FILE.root)


@pytest.mark.parametrize("length", [MAX_BLOCK_BYTES + 1, 10**15])
async def test_a_length_that_cannot_be_is_refused_before_the_body(length: int) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {length + (8 << 20)}\r\n\r\n".encode()
    async with scripted(answering(answer)) as peer, open_client() as asking:
        with pytest.raises(PeerUnavailableError, match="announces"):
            await asking.fetch_block(peer, FILE.root)
        with pytest.raises(PeerUnavailableError, match="announces"):
            await asking.fetch_range(peer, cid_of(0x55, b"x"), 1, 0, 1, MemorySink(10))


async def test_a_wrong_block_is_never_returned() -> None:
    for block in (b"", b"another", bytes(200_000)):
        async with scripted(answering(http_answer(block))) as peer, open_client() as asking:
            with pytest.raises(WrongBlockError):
                await asking.fetch_block(peer, cid_of(0x55, b"this"))


async def test_many_nodes_arrive_at_once_and_what_is_not_there_is_left_out() -> None:
    nodes = {cid: block for cid, block in FILE.blocks.items() if cid.codec == 0x70}
    missing = balanced(b"never seen", 4, 2).root
    async with serving(gateway(FILE)) as peer, open_client() as asking:
        assert await asking.fetch_nodes(peer, [missing, *nodes]) == nodes
        with pytest.raises(PeerLacksError):
            await asking.fetch_nodes(peer, [missing])
        with pytest.raises(PeerUnavailableError):
            await asking.fetch_nodes(peer, [missing] * 1_025)


async def test_nodes_that_are_wrong_or_were_not_asked_for_are_never_returned() -> None:
    wanted = cid_of(0x70, b"this")
    wrong = encode_header(wanted) + block_prefix(wanted, 7) + b"another"
    for body in (wrong, wrong[:-1], b"", car_of_one(FILE)):
        async with scripted(answering(http_answer(body))) as peer, open_client() as asking:
            with pytest.raises(WrongBlockError):
                await asking.fetch_nodes(peer, [wanted])


async def test_a_block_arrives() -> None:
    async with serving(gateway(FILE)) as peer, open_client() as asking:
        for cid, block in list(FILE.blocks.items())[:3]:
            assert await asking.fetch_block(peer, cid) == block


async def test_a_broken_file_is_told_apart_from_a_lying_peer() -> None:
    block = file_block(b"", [(cid_of(0x55, b"ab"), 2)], file_size=3)
    root = cid_of(0x70, block)
    broken = Dag(root, 3, {root: block})
    async with (
        scripted(answering(http_answer(car_of_one(broken)))) as peer,
        open_client() as asking,
    ):
        with pytest.raises(MalformedError):
            await asking.fetch_range(peer, root, 3, 0, 3, MemorySink(3))
        stats = asking.stats(peer.public_key)
    assert (stats.failures, stats.wrong) == (0, 0)


async def test_a_size_that_the_publisher_got_wrong_is_not_the_peers_fault() -> None:
    dag = balanced(b"small")
    async with serving(gateway(dag)) as peer, open_client() as asking:
        with pytest.raises(MalformedError):
            await asking.fetch_range(peer, dag.root, 6, 0, 6, MemorySink(6))
        assert asking.stats(peer.public_key).wrong == 0


async def test_a_car_that_is_none_is_the_peers_fault() -> None:
    async with scripted(answering(http_answer(b"\xff" * 1_000))) as peer, open_client() as asking:
        with pytest.raises(WrongBlockError):
            await asking.fetch_range(peer, FILE.root, FILE.size, 0, 1, MemorySink(1))
        assert asking.stats(peer.public_key).wrong == 1


def car_of_one(dag: Dag) -> bytes:
    block = dag.blocks[dag.root]
    return encode_header(dag.root) + block_prefix(dag.root, len(block)) + block


async def test_a_failing_disk_is_not_the_peers_fault() -> None:
    class FullSink(MemorySink):
        def write(self, start: int, data: memoryview) -> None:
            raise OSError(28, f"No space for {len(data)} bytes at {start}")

    async with serving(gateway(FILE)) as peer, open_client() as asking:
        with pytest.raises(OSError, match="No space"):
            await asking.fetch_range(peer, FILE.root, FILE.size, 0, FILE.size, FullSink(FILE.size))
        stats = asking.stats(peer.public_key)
    assert (stats.failures, stats.wrong) == (0, 0)


async def test_a_cancelled_fetch_leaves_the_next_one_alone() -> None:
    async with serving(gateway(FILE)) as peer, open_client() as asking:
        for delay in (0.0, 0.002, 0.005, 0.01, 0.02):
            with trio.move_on_after(delay):
                sink = MemorySink(FILE.size)
                await asking.fetch_range(peer, FILE.root, FILE.size, 0, FILE.size, sink)
        sink = MemorySink(FILE.size)
        await asking.fetch_range(peer, FILE.root, FILE.size, 0, FILE.size, sink)
        assert sink.content == content_of(FILE)


async def test_a_block_that_goes_away_cuts_the_answer() -> None:
    serving_gateway = gateway(FILE)
    leaf = cid_of(0x55, content_of(FILE)[3 * CHUNK : 4 * CHUNK])
    serving_gateway._contents._blocks.lost.add(leaf)  # type: ignore[attr-defined]
    async with serving(serving_gateway) as peer, open_client() as asking:
        sink = MemorySink(FILE.size)
        with pytest.raises(PeerUnavailableError):
            await asking.fetch_range(peer, FILE.root, FILE.size, 0, FILE.size, sink)
    assert sink.landed_bytes == 3 * CHUNK


async def test_record_pages_and_batches_go_both_ways() -> None:
    async with serving(gateway()) as peer, open_client() as asking:
        at = peer.addresses[0]
        key = peer.public_key
        page = await asking.fetch_page(key, at, tag_subject("music").encode(), b"", b"")
        assert parse_page(page).values == ()
        assert await asking.post_records(key, at, b"110") == [True, True, False]
        with pytest.raises(PeerUnavailableError):
            await asking.post_records(key, at, b"")
        with pytest.raises(PeerUnavailableError):
            await asking.post_records(key, at, b"x" * 300_000)
        with pytest.raises(PeerUnavailableError):
            await asking.fetch_page(key, at, b"nonsense", b"", b"")


async def test_what_a_reader_has_is_left_out_of_a_page() -> None:
    store, subject = MemoryRecordStore(), tag_subject("music")
    records = [
        Record(subject, b"value %d" % number, b"p", 2**40, 1, bytes([number]))
        for number in range(5)
    ]
    store.put_all(records, "127.0.0.1", 0)
    async with serving(gateway_of(MemoryBlocks(), records=store)) as peer, open_client() as asking:
        at, key = peer.addresses[0], peer.public_key
        known = b"".join(record.digest for record in records[1:4])
        page = await asking.fetch_page(key, at, subject.encode(), b"", known)
        assert parse_page(page).values == (records[0].value, records[4].value)
        page = await asking.fetch_page(key, at, subject.encode(), records[0].slot, known)
        assert parse_page(page).values == (records[4].value,)
        for wrong in (known[:-1], known * 700):
            with pytest.raises(PeerUnavailableError):
                await asking.fetch_page(key, at, subject.encode(), b"", wrong)


async def test_a_page_is_asked_for_again_while_the_peer_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_LEAST_PAUSE_SECONDS", 0.01)
    busy = http_answer(b"", "Retry-After: 0", status="429 Too Many Requests")
    answers = [busy, busy, http_answer(b"page")] * 3

    async def script(stream: TlsStream) -> None:
        while received := await stream.receive_some():
            if b" HTTP/1.1" in received:  # bodies may come by themselves
                await stream.send_all(answers.pop(0))

    async with scripted(script) as peer, open_client() as asking:
        at, key = peer.addresses[0], peer.public_key
        assert await asking.fetch_page(key, at, b"subject", b"", b"") == b"page"
        assert await asking.fetch_names(key, at, Region(bytes(20), 0), b"") == b"page"
        assert await asking.fetch_named(key, at, bytes(28)) == b"page"
        assert not asking.stats(key).failures


@pytest.mark.parametrize("answer", [b"lots", b"12", b"1" * 1_025, b"1 0"])
async def test_what_became_of_a_batch_is_said_in_ones_and_noughts(answer: bytes) -> None:
    async with scripted(answering(http_answer(answer))) as peer, open_client() as asking:
        with pytest.raises(PeerUnavailableError):
            await asking.post_records(peer.public_key, peer.addresses[0], b"batch")


async def test_a_stranger_is_limited_and_a_neighbour_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages_module, "_BATCHES_PER_SECOND", 3)
    for near, failures in ((True, 0), (False, 7)):
        async with serving(gateway(near=near)) as peer, open_client() as asking:
            busy = 0
            for _ in range(10):
                try:
                    await asking.post_records(peer.public_key, peer.addresses[0], b"batch")
                except PeerBusyError:
                    busy += 1
            assert busy == failures


async def test_an_answer_that_never_lingers_and_never_ends_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 0.3)

    async def steady(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_answer(bytes(MAX_BLOCK_BYTES)).partition(b"\r\n\r\n")[0])
        await stream.send_all(b"\r\n\r\n")
        while True:
            await stream.send_all(bytes(1_000))
            await trio.sleep(0.01)

    async with scripted(steady) as peer, open_client() as asking:
        with trio.fail_after(5), pytest.raises(PeerSilentError):
            await asking.fetch_block(peer, FILE.root)
        assert asking.stats(peer.public_key).failures == 1
