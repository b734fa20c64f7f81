from __future__ import annotations

import time

import pytest
import trio

from p2pfs.peers import exchange
from p2pfs.peers.errors import PeerSilentError, PeerUnavailableError
from p2pfs.peers.exchange import Connection, Head, Request
from p2pfs.peers.streams.tls import TlsStream, client_context, connect_tls
from tests.peers.fakes import Script, answering, http_answer, scripted

REQUEST = Request("GET", "/ipfs/bafkqaaa?format=raw", "application/vnd.ipld.raw")


async def asked(script: Script) -> tuple[Head, bytes]:
    """The answer of a peer that does this."""
    async with scripted(script) as peer:
        endpoint = peer.addresses[0]
        stream, _ = await connect_tls(endpoint, peer.public_key, client_context())
        connection = Connection(stream, endpoint)
        try:
            head, body = await connection.ask(REQUEST)
            return head, await body.read()
        finally:
            connection.close()


async def refused(script: Script, message: str | None = None) -> None:
    started = time.monotonic()
    with pytest.raises(PeerUnavailableError, match=message):
        await asked(script)
    assert time.monotonic() - started < 4


async def test_an_answer_comes_with_its_status_and_whole_body() -> None:
    head, body = await asked(answering(http_answer(b"hello" * 50_000)))
    assert (head.status, head.keeps_connection) == (200, True)
    assert body == b"hello" * 50_000


async def test_the_request_names_the_peer_and_takes_no_encodings() -> None:
    seen = []

    async def note(stream: TlsStream) -> None:
        seen.append(await stream.receive_some())
        await stream.send_all(http_answer(b""))

    await asked(note)
    assert seen[0].startswith(b"GET /ipfs/bafkqaaa?format=raw HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAccept-Encoding: identity\r\n" in seen[0]


async def test_a_few_informational_answers_pass() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3
    assert (await asked(answering(early + http_answer(b"ok"))))[1] == b"ok"


async def test_endless_100_continue_is_given_up() -> None:
    async def flood(stream: TlsStream) -> None:
        await stream.receive_some()
        while True:
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")

    await refused(flood, "no end of informational")


async def test_an_endless_head_is_given_up() -> None:
    async def flood(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send_all(b"X-Filler: " + b"x" * 1_000 + b"\r\n")

    await refused(flood)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
async def test_content_encodings_are_refused(encoding: str) -> None:
    await refused(
        answering(http_answer(b"\x1f\x8b", f"Content-Encoding: {encoding}")), "encodes content"
    )


async def test_a_body_without_a_length_cannot_be_used() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for answer in (chunked, b"HTTP/1.1 200 OK\r\n\r\nhello"):
        head, body = await asked(answering(answer))
        assert (head.length, body, head.keeps_connection) == (None, b"", False)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"\0" * 100,
    ],
)
async def test_what_is_not_http_is_one_error(answer: bytes) -> None:
    await refused(answering(answer + b"\r\n" * 20_000))


async def test_more_than_was_declared_is_refused() -> None:
    await refused(answering(http_answer(b"") + b"surplus"), "more than it had declared")


async def test_a_body_that_is_cut_is_an_error() -> None:
    async def cut(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_answer(b"x" * 1_000)[:-1])

    await refused(cut, "1 bytes early")


async def test_a_peer_that_closes_without_an_answer_is_an_error() -> None:
    async def close(stream: TlsStream) -> None:
        await stream.receive_some()

    await refused(close, "broke off")


async def test_a_silent_peer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_SILENCE_SECONDS", 0.2)

    async def silent(stream: TlsStream) -> None:
        await trio.sleep_forever()

    async def half(stream: TlsStream) -> None:
        await stream.send_all(http_answer(b"x" * 1_000)[:-500])
        await trio.sleep_forever()

    for script in (silent, half):
        with pytest.raises(PeerSilentError):
            await asked(script)


async def test_a_byte_now_and_then_is_as_good_as_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_SILENCE_SECONDS", 0.3)

    async def drip(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_answer(b"x" * 1_000_000)[:100])
        while True:
            await trio.sleep(0.02)
            await stream.send_all(b"x")

    started = time.monotonic()
    with pytest.raises(PeerSilentError):
        await asked(drip)
    assert time.monotonic() - started < 2


async def test_a_retry_after_is_read_within_reason() -> None:
    for value, seconds in (("3", 3.0), ("9" * 400, 1.0), ("99", 60.0), ("soon", 1.0)):
        answer = http_answer(b"", f"Retry-After: {value}", status="429 Too Many Requests")
        head, _ = await asked(answering(answer))
        assert head.retry_after == seconds
