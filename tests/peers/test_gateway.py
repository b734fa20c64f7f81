"""The gateway as a client sees it that nobody here wrote: httpx over TLS."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx
import pytest
import trio

from p2pfs.content.car import CarReader
from p2pfs.content.cid import Cid, cid_of
from p2pfs.content.intervals import Intervals
from p2pfs.dht.overlay import Provider
from p2pfs.dht.subjects import tag_subject
from p2pfs.peers import answers, cars, contents
from p2pfs.peers import gateway as gateway_module
from p2pfs.peers import pages as pages_module
from p2pfs.peers.answers import Answer, Message, respond
from p2pfs.peers.streams import tls
from p2pfs.store.pieces import Piece, Plan
from tests.content.dags import Dag, balanced
from tests.peers.fakes import MemoryBlocks, car, gateway_of, serving
from tests.peers.test_client import gateway

CONTENT = bytes(range(256))
FILE = balanced(CONTENT)
LEAF = cid_of(0x55, CONTENT[:16])
TWINS = balanced(bytes(64))  # four times the same leaf
UNSEEN: dict[str, Any] = {"verify": False, "trust_env": False}  # the key is not the point


@asynccontextmanager
async def web(*, near: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(gateway(FILE, TWINS, near=near)) as peer:
        url = f"https://{peer.addresses[0]}"
        async with httpx.AsyncClient(base_url=url, **UNSEEN) as client:
            yield client


async def test_a_block_comes_raw_with_the_headers_of_the_specification() -> None:
    async with web() as client:
        answer = await client.get(f"/ipfs/{LEAF}?format=raw")
    assert answer.content == CONTENT[:16]
    assert answer.headers["content-type"] == "application/vnd.ipld.raw"
    assert answer.headers["etag"] == f'"{LEAF}.raw"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "date" in answer.headers
    assert "server" not in answer.headers


async def test_a_head_names_the_length_and_gives_nothing() -> None:
    async with web() as client:
        for query, length in (("format=raw", 16), ("format=car", None)):
            cid = LEAF if length else FILE.root
            answer = await client.head(f"/ipfs/{cid}?{query}")
            assert answer.status_code == 200
            assert int(answer.headers["content-length"]) == length or len(car(FILE))
            assert answer.content == b""


async def test_a_range_of_a_block_is_a_206() -> None:
    async with web() as client:
        url = f"/ipfs/{LEAF}?format=raw"
        answer = await client.get(url, headers={"range": "bytes=4-7"})
        assert (answer.status_code, answer.content) == (206, CONTENT[4:8])
        assert answer.headers["content-range"] == "bytes 4-7/16"
        answer = await client.get(url, headers={"range": "bytes=16-"})
        assert answer.status_code == 416


async def test_a_car_has_exactly_the_length_it_declares() -> None:
    async with web() as client:
        for query in ("", "&entity-bytes=0:*", "&entity-bytes=-40:*", "&dag-scope=block"):
            answer = await client.get(f"/ipfs/{FILE.root}?format=car{query}")
            assert answer.status_code == 200
            assert int(answer.headers["content-length"]) == len(answer.content)
            reader = CarReader()
            blocks = list(reader.feed(answer.content))
            reader.close()
            assert blocks[0][0] == FILE.root
    assert len(blocks) == 1  # of dag-scope=block


async def test_duplicates_are_left_out_when_asked() -> None:
    async with web() as client:
        counts = []
        for dups in "yn":
            answer = await client.get(f"/ipfs/{TWINS.root}?format=car&dups={dups}")
            assert answer.headers["content-type"].endswith(f"dups={dups}")
            cids = [cid for cid, _ in CarReader().feed(answer.content)]
            counts.append((len(cids), len(set(cids))))
    assert counts[0][0] > counts[0][1]
    assert counts[1] == (counts[0][1], counts[0][1])


async def test_what_the_client_has_is_not_sent_again() -> None:
    async with web() as client:
        for query in ("format=raw", "format=car"):
            url = f"/ipfs/{LEAF}?{query}"
            etag = (await client.get(url)).headers["etag"]
            answer = await client.get(url, headers={"if-none-match": f'"other", {etag}'})
            assert (answer.status_code, answer.content) == (304, b"")


async def test_the_probe_is_answered() -> None:
    async with web() as client:
        answers = [await client.get(f"/ipfs/bafkqaaa{query}") for query in ("", "?format=raw")]
    assert [(each.status_code, each.content) for each in answers] == [(200, b"")] * 2


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", f"/ipfs/{cid_of(0x55, b'not here')}?format=raw", 404),
        ("GET", f"/ipfs/{cid_of(0x55, b'not here')}?format=car", 404),
        ("GET", "/ipfs/nonsense?format=raw", 400),
        ("GET", f"/ipfs/{FILE.root}", 406),
        ("GET", f"/ipfs/{FILE.root}/../../etc/passwd?format=raw", 404),
        ("GET", f"/ipfs/{FILE.root}/%2e%2e/etc/passwd?format=raw", 404),
        ("GET", "/", 404),
        ("GET", "/etc/passwd", 404),
        ("DELETE", f"/ipfs/{FILE.root}", 405),
        ("PUT", "/p2pfs/v1/records", 405),
        ("GET", "/p2pfs/v1/records", 400),
        ("GET", f"/p2pfs/v1/have/{cid_of(0x55, b'not here')}", 404),
        ("GET", "/p2pfs/v1/have/nonsense", 400),
        ("POST", f"/p2pfs/v1/have/{FILE.root}", 405),
        ("GET", "/p2pfs/v1/records?subject=zz", 400),
        ("GET", f"/p2pfs/v1/records?subject={'00' * 10_00}", 400),
    ],
)
async def test_each_wrong_request_has_its_status(method: str, url: str, status: int) -> None:
    async with web() as client:
        answer = await client.request(method, url)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")


async def test_a_block_lost_before_the_first_byte_is_a_404() -> None:
    served = gateway(FILE)
    blocks = served._contents._blocks
    assert isinstance(blocks, MemoryBlocks)
    blocks.lost.add(FILE.root)
    async with (
        serving(served) as peer,
        httpx.AsyncClient(**UNSEEN) as client,
    ):
        answer = await client.get(f"https://{peer.addresses[0]}/ipfs/{FILE.root}?format=car")
    assert answer.status_code == 404


async def test_of_a_content_in_very_many_pieces_the_first_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def in_pieces(_blocks: MemoryBlocks, _root: Cid) -> Intervals:
        return Intervals((start, start + 1) for start in range(0, 20, 2))

    monkeypatch.setattr(MemoryBlocks, "coverage", in_pieces)
    monkeypatch.setattr(contents, "_MAX_HELD_INTERVALS", 3)
    async with web() as client:
        answer = await client.get(f"/p2pfs/v1/have/{FILE.root}")
    assert answer.content.hex() == "000101010101"


async def test_a_car_of_too_much_at_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cars, "_MAX_CAR_BYTES", 100)
    async with web() as client:
        assert (await client.get(f"/ipfs/{FILE.root}?format=car")).status_code == 400
        url = f"/ipfs/{FILE.root}?format=car&entity-bytes=0:50"
        assert (await client.get(url)).status_code == 200


async def test_a_stranger_has_so_many_requests_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "_MAX_IN_FLIGHT", 0)
    async with web(near=False) as client:
        answer = await client.get(f"/ipfs/{LEAF}?format=raw")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    async with web(near=True) as client:
        assert (await client.get(f"/ipfs/{LEAF}?format=raw")).status_code == 200


async def test_a_websocket_is_refused() -> None:
    async with web() as client:
        upgrade = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        assert (await client.get("/relay", headers=upgrade)).status_code == 403


async def test_of_three_requests_at_once_the_one_too_many_is_told_when_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_module, "_MAX_IN_FLIGHT", 2)
    go_on = trio.Event()
    statuses: list[int] = []

    class Slow(MemoryBlocks):
        async def read(self, cid: Cid) -> bytes:
            await go_on.wait()
            return await super().read(cid)

    served = gateway_of(Slow(FILE), near=False)
    async with serving(served, near=False) as peer, httpx.AsyncClient(**UNSEEN) as client:
        url = f"https://{peer.addresses[0]}/ipfs/{LEAF}?format=raw"

        async def get() -> None:
            answer = await client.get(url)
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                assert answer.headers["retry-after"] == "1"
                go_on.set()

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(get)
    assert sorted(statuses) == [200, 200, 429]


@pytest.mark.parametrize(("near", "answered"), [(False, 5), (True, 20)])
async def test_a_stranger_who_reads_too_many_pages_is_told_when_to_come_again(
    near: bool, answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "_PAGES_PER_SECOND", 0.001)
    monkeypatch.setattr(pages_module, "_PAGES_AT_ONCE", 5)
    subject = tag_subject("music").encode().hex()
    read = f"/p2pfs/v1/records?subject={subject}"
    rest = f"/p2pfs/v1/records/missing?subject={subject}"
    async with web(near=near) as client:
        got = [await client.get(read) for _ in range(3)]
        got += [await client.post(rest, content=bytes(8)) for _ in range(17)]
        posted = await client.post("/p2pfs/v1/records", content=b"1")
    assert [answer.status_code for answer in got[:answered]] == [200] * answered
    refused = got[answered:]
    assert all(answer.status_code == 429 for answer in refused)
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert posted.status_code == 200  # batches are counted apart


async def test_a_stranger_who_posts_too_often_is_told_when_to_come_again() -> None:
    async with web(near=False) as client:
        posted = [await client.post("/p2pfs/v1/records", content=b"x") for _ in range(40)]
    refused = [answer for answer in posted if answer.status_code == 429]
    assert [answer.status_code for answer in posted[:10]] == [200] * 10
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_UPLOAD_SECONDS", 0.2)

    async with serving(gateway(FILE)) as peer:
        stream = await over_tls(peer)
        await stream.send_all(
            b"POST /p2pfs/v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na"
        )
        with trio.fail_after(5):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")
        await trio.aclose_forcefully(stream)


async def over_tls(peer: Provider) -> trio.SSLStream[trio.SocketStream]:
    return await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", peer.addresses[0].port, ssl_context=httpx.create_ssl_context(verify=False)
    )


class Endless(MemoryBlocks):
    """A CAR that never ends; `stopped` says that nobody reads it any more."""

    def __init__(self, *dags: Dag) -> None:
        super().__init__(*dags)
        self.reading, self.stopped = trio.Event(), trio.Event()

    async def plan(self, root: Cid, start: int = 0, stop: int | None = None) -> Plan:
        plan = await super().plan(root, start, stop)
        plan.section_bytes = 1 << 40
        return plan

    async def read_pieces(self, pieces: Iterable[Piece]) -> AsyncGenerator[bytearray, None]:
        del pieces
        try:
            while True:
                yield bytearray(65_536)
                self.reading.set()
                await trio.sleep(0.01)
        finally:
            self.stopped.set()


async def test_an_answer_that_takes_too_long_in_all_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "_RESPONSE_SECONDS", 0.3)
    blocks = Endless(FILE)
    async with serving(gateway_of(blocks)) as peer, httpx.AsyncClient(**UNSEEN) as client:
        with trio.fail_after(5), pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"https://{peer.addresses[0]}/ipfs/{FILE.root}?format=car&dups=y")
    assert blocks.stopped.is_set()


async def test_an_answer_to_somebody_who_takes_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls, "_SEND_STALL_SECONDS", 0.3)
    blocks = Endless(FILE)
    async with serving(gateway_of(blocks)) as peer:
        stream = await over_tls(peer)
        await stream.send_all(
            f"GET /ipfs/{FILE.root}?format=car&dups=y HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        with trio.fail_after(5):
            await blocks.stopped.wait()
        await trio.aclose_forcefully(stream)


async def test_an_answer_to_somebody_who_takes_little_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "_PIECE_SECONDS", 0.3)

    async def send(message: Message) -> None:
        if message.get("body"):
            await trio.sleep_forever()

    async def gone() -> Message:
        await trio.sleep_forever()

    blocks = Endless(FILE)
    answer = Answer(HTTPStatus.OK, [], blocks.read_pieces([]))
    with trio.fail_after(5):
        await respond(answer, "GET", gone, send)
    assert blocks.stopped.is_set()


async def test_a_client_that_goes_ends_its_answer() -> None:
    blocks = Endless(FILE)
    async with serving(gateway_of(blocks)) as peer, httpx.AsyncClient(**UNSEEN) as client:
        url = f"https://{peer.addresses[0]}/ipfs/{FILE.root}?format=car&dups=y"
        request = client.build_request("GET", url)
        answer = await client.send(request, stream=True)
        with trio.fail_after(5):
            await blocks.reading.wait()
        await answer.aclose()
        with trio.fail_after(5):
            await blocks.stopped.wait()


@pytest.mark.parametrize("bits", ["", "-1", "161", "x", "9" * 5_000])
async def test_a_region_of_no_sense_is_refused(bits: str) -> None:
    async with web() as client:
        answer = await client.get(f"/p2pfs/v1/names?near={'00' * 20}&bits={bits}")
    assert answer.status_code == 400
