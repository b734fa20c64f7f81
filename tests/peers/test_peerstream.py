"""What the stream below httpcore promises, seen through httpcore and real TLS."""

from __future__ import annotations

import time

import pytest
import trio

from p2pfs.peers import peerstream
from p2pfs.peers.errors import PeerSilentError, PeerUnavailableError
from p2pfs.peers.exchange import Request
from p2pfs.peers.streams.tls import TlsStream
from tests.peers.fakes import Script, answering, asking, http_answer, scripted

REQUEST = Request("GET", "/", "*/*")


async def body_of(script: Script) -> bytes:
    async with scripted(script) as peer, asking() as client, client.ask(peer, REQUEST) as answer:
        return await answer.read()


async def refused(script: Script, message: str | None = None) -> None:
    started = time.monotonic()
    with pytest.raises(PeerUnavailableError, match=message):
        await body_of(script)
    assert time.monotonic() - started < 4


async def test_a_few_informational_answers_pass() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3
    assert await body_of(answering(early + http_answer(b"ok"))) == b"ok"


async def test_a_head_may_come_byte_by_byte() -> None:
    async def slowly(stream: TlsStream) -> None:
        await stream.receive_some()
        for byte in http_answer(b"\n\nok\n\n"):
            await stream.send_all(bytes([byte]))

    assert await body_of(slowly) == b"\n\nok\n\n"


async def test_endless_100_continue_is_given_up() -> None:
    async def flood(stream: TlsStream) -> None:
        await stream.receive_some()
        while True:
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")

    await refused(flood, "head without end")


async def test_an_endless_head_is_given_up() -> None:
    async def flood(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send_all(b"X-Filler: " + b"x" * 1_000 + b"\r\n")

    await refused(flood, "head without end")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
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
    for body in (b"", b"body"):
        await refused(answering(http_answer(body) + b"surplus"), "more than it had declared")


async def test_a_surplus_that_comes_late_is_no_answer_to_the_next_request() -> None:
    connections = []

    async def generous(stream: TlsStream) -> None:
        connections.append(stream)
        await stream.receive_some()
        await stream.send_all(http_answer(bytes(1 << 20)) + http_answer(b"forged"))
        while await stream.receive_some():
            pass

    async with scripted(generous) as peer, asking() as client:
        for _ in range(2):
            async with client.ask(peer, REQUEST) as answer:
                assert len(await answer.read()) == 1 << 20
    assert len(connections) == 2


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
    monkeypatch.setattr(peerstream, "_SILENCE_SECONDS", 0.2)

    async def silent(stream: TlsStream) -> None:
        await trio.sleep_forever()

    async def half(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_answer(b"x" * 1_000)[:-500])
        await trio.sleep_forever()

    async def hesitant(stream: TlsStream) -> None:
        while True:
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            await trio.sleep(0.1)

    for script in (silent, half, hesitant):
        with pytest.raises(PeerSilentError):
            await body_of(script)


async def test_a_byte_now_and_then_is_as_good_as_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peerstream, "_SILENCE_SECONDS", 0.3)

    async def drip(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(http_answer(b"x" * 1_000_000)[:100])
        while True:
            await trio.sleep(0.02)
            await stream.send_all(b"x")

    started = time.monotonic()
    with pytest.raises(PeerSilentError):
        await body_of(drip)
    assert time.monotonic() - started < 2


async def test_time_in_which_nobody_reads_is_not_held_against_the_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peerstream, "_SILENCE_SECONDS", 0.3)
    script = answering(http_answer(bytes(1 << 20)))
    async with scripted(script) as peer, asking() as client, client.ask(peer, REQUEST) as answer:
        await trio.sleep(0.5)
        assert len(await answer.read()) == 1 << 20
