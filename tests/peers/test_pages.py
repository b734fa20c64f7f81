"""How batches of records are taken in, and pages read."""

from __future__ import annotations

import threading

import trio
import trio.testing

from p2pfs.addresses import Endpoint
from p2pfs.dht.recordstore import RecordPage
from p2pfs.dht.subjects import Subject, tag_subject
from p2pfs.peers.answers import Message
from p2pfs.peers.asked import Asked
from p2pfs.peers.pages import RECORDS_PATH, Pages


class Store:
    """Takes a second for a batch; notes whose are under way."""

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.most: dict[str, int] = {}

    async def accept(self, _batch: bytes, ip: str) -> list[bool]:
        self.under_way.append(ip)
        self.most[ip] = max(self.most.get(ip, 0), self.under_way.count(ip))
        await trio.sleep(1)
        self.under_way.remove(ip)
        return [True]


async def body() -> Message:
    return {"type": "http.request", "body": b"batch", "more_body": False}


async def test_batches_of_one_stranger_are_taken_in_one_after_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = Store()
    pages = Pages(None, store.accept, lambda ip: ip == "127.0.0.1", lambda: 0.0)  # type: ignore[arg-type]

    async def post(ip: str) -> None:
        here = Endpoint("127.0.0.1", 7117)
        await pages.answer(Asked("POST", RECORDS_PATH, b"", {}, Endpoint(ip, 50_000), here, body))

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        for ip in ("8.8.8.8", "2a00::1", "2a00::2", "9.9.9.9", "127.0.0.1"):
            for _ in range(4):
                nursery.start_soon(post, ip)
    assert store.most == {"8.8.8.8": 1, "2a00::1": 1, "2a00::2": 1, "9.9.9.9": 1, "127.0.0.1": 4}
    assert trio.current_time() - started == 8  # the two of one IPv6 network wait for each other


class Readable:
    """Notes which keys are read; none is, until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.keys: list[bytes] = []

    def page(self, key: bytes, *_: object) -> RecordPage:
        self.keys.append(key)
        self.may_go_on.wait()
        return RecordPage((), None)


async def test_whoever_reads_many_pages_delays_no_other() -> None:
    store = Readable()
    pages = Pages(store, None, lambda _: False, lambda: 0.0)  # type: ignore[arg-type]
    greedy, modest = tag_subject("greedy"), tag_subject("modest")

    async def read(ip: str, subject: Subject) -> None:
        query = f"subject={subject.encode().hex()}".encode()
        here = Endpoint("127.0.0.1", 7117)
        await pages.answer(Asked("GET", RECORDS_PATH, query, {}, Endpoint(ip, 50_000), here, body))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(read, "8.8.8.8", greedy)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read, "9.9.9.9", modest)
        await trio.testing.wait_all_tasks_blocked()
        waiting = pages._reads.statistics().tasks_waiting
        store.may_go_on.set()
    assert waiting == 1  # one reads, since the store has one lock and datagrams wait for it too
    assert store.keys == [greedy.key, modest.key, *[greedy.key] * 7]
