"""How batches of records are taken in."""

from __future__ import annotations

import trio

from p2pfs.addresses import Endpoint
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
