from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from p2pfs.peers.errors import PeerUnavailableError
from p2pfs.peers.exchange import Answer, Request
from p2pfs.peers.ledger import Ledger, PeerStats
from p2pfs.peers.streams.tls import TlsStream
from tests.peers.fakes import Counting, Script, answering, asking, http_answer, scripted

REQUEST = Request("GET", "/ipfs/bafkqaaa?format=raw", "application/vnd.ipld.raw")


async def asked(script: Script, request: Request = REQUEST) -> tuple[Answer, bytes]:
    """The answer of a peer that does this."""
    async with (
        scripted(script) as peer,
        asking() as client,
        client.ask(peer, request) as answer,
    ):
        return answer, b"" if answer.length is None else await answer.read()


def noting(seen: list[bytes], answer: bytes = http_answer(b"")) -> Script:
    async def note(stream: TlsStream) -> None:
        while request := await stream.receive_some():
            seen.append(request)
            await stream.send_all(answer)

    return note


async def test_an_answer_comes_with_its_status_and_whole_body() -> None:
    answer, body = await asked(answering(http_answer(b"hello" * 50_000)))
    assert (answer.status, answer.length) == (200, 250_000)
    assert body == b"hello" * 50_000


async def test_a_request_names_the_peer_and_tells_nothing_that_was_not_asked() -> None:
    seen: list[bytes] = []
    await asked(noting(seen))
    line, *headers = seen[0].decode().split("\r\n")
    assert line == "GET /ipfs/bafkqaaa?format=raw HTTP/1.1"
    assert headers[0].startswith("Host: ")
    assert len(headers[0].removeprefix("Host: ").replace(".", "")) == 64
    assert set(headers[1:]) == {
        "Accept: application/vnd.ipld.raw",
        "Accept-Encoding: identity",
        "Connection: keep-alive",
        "User-Agent: p2pfs",
        "",
    }


async def test_a_body_is_sent_with_its_length() -> None:
    seen: list[bytes] = []
    await asked(noting(seen), Request("POST", "/p2pfs/v1/records", "*/*", b"batch"))
    assert b"\r\nContent-Length: 5\r\n" in seen[0]
    assert b"".join(seen).endswith(b"\r\n\r\nbatch")


async def test_cookies_are_not_kept() -> None:
    seen: list[bytes] = []
    script = noting(seen, http_answer(b"", "Set-Cookie: who=you; Path=/"))
    async with scripted(script) as peer, asking() as client:
        for _ in range(2):
            async with client.ask(peer, REQUEST) as answer:
                await answer.read()
    assert seen[1] == seen[0]


async def test_redirects_are_answers_like_others() -> None:
    moved = http_answer(b"", "Location: http://127.0.0.1:1/", status="302 Found")
    assert (await asked(answering(moved)))[0].status == 302


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
async def test_content_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(PeerUnavailableError, match="encodes content"):
        await asked(answering(http_answer(b"\x1f\x8b", f"Content-Encoding: {encoding}")))


async def test_a_body_without_a_length_cannot_be_used() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    both = chunked.replace(b"Transfer", b"Content-Length: 5\r\nTransfer")
    for script in (chunked, both, b"HTTP/1.1 200 OK\r\n\r\nhello"):
        answer, _ = await asked(answering(script))
        assert answer.length is None


async def test_a_retry_after_is_read_within_reason() -> None:
    for value, seconds in (("3", 3.0), ("9" * 400, 1.0), ("99", 60.0), ("soon", 1.0)):
        busy = http_answer(b"", f"Retry-After: {value}", status="429 Too Many Requests")
        answer, _ = await asked(answering(busy))
        assert answer.retry_after == seconds


@pytest.mark.parametrize(("rtt", "most"), [(0.001, 2), (0.05, 4)])
async def test_requests_to_one_peer_overlap_up_to_its_limit(rtt: float, most: int) -> None:
    counting = Counting()
    counting.go_on = trio.Event()
    async with scripted(counting) as peer, asking(DistantPeers(rtt)) as client:

        async def ask() -> None:
            async with client.ask(peer, REQUEST) as answer:
                await answer.read()

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
            await trio.sleep(0.3)  # in which one more could wrongly come through
            assert counting.at_once == most
            counting.go_on.set()
    assert (counting.most_at_once, counting.requests) == (most, 8)


class DistantPeers(Ledger):
    """Every peer is that far away, whatever is measured on loopback."""

    def __init__(self, rtt: float) -> None:
        super().__init__()
        self._rtt = rtt

    def stats(self, public_key: bytes) -> PeerStats:
        return replace(super().stats(public_key), rtt=self._rtt)


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    counting = Counting()
    counting.go_on = trio.Event()
    async with scripted(counting) as peer, asking() as client:
        for _ in range(5):
            with trio.move_on_after(0.05):
                async with client.ask(peer, REQUEST):
                    pass
        counting.go_on.set()
        async with client.ask(peer, REQUEST) as answer:
            assert await answer.read() == b"ok"
        assert not client._limits


@pytest.mark.filterwarnings("error")
async def test_a_body_that_is_left_in_the_middle_ends_there() -> None:
    """Whatever its generators warn of, they would warn of here."""
    requests = []

    async def big(stream: TlsStream) -> None:
        while request := await stream.receive_some():
            requests.append(request)
            await stream.send_all(http_answer(bytes(3 << 20)))

    async with scripted(big) as peer, asking() as client:
        for _ in range(2):
            async with client.ask(peer, REQUEST) as answer:
                async for _piece in answer.pieces:
                    break
        async with client.ask(peer, REQUEST) as answer:
            assert len(await answer.read()) == 3 << 20
    assert len(requests) == 3
