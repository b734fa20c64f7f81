from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from p2pfs.peers.streams import http
from p2pfs.peers.streams.http import serve_asgi
from tests.peers.fakes import serving

if TYPE_CHECKING:
    from p2pfs.peers.answers import Message, Receive, Send

BIG = 8 << 20


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """`/` is "ok", `/big` 8 MiB, `/broken` an exception, `/forever` never ends."""
    body = {"/": b"ok", "/big": bytes(BIG)}.get(scope["path"])
    if body is None and scope["path"] == "/broken":
        raise RuntimeError("a bug")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if body is None:
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await trio.sleep_forever()
    await send({"type": "http.response.body", "body": body})


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=False, trust_env=False)  # noqa: S501 the key is not the point


async def plain(port: int, request: bytes) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        answer = b""
        try:
            while data := await stream.receive_some():
                answer += data
        except trio.BrokenResourceError:
            pass
        return answer


async def test_an_application_is_served_over_tls() -> None:
    async with serving(app) as peer, client() as web:
        url = f"https://{peer.addresses[0]}"
        assert (await web.get(f"{url}/")).text == "ok"
        assert len((await web.get(f"{url}/big")).content) == BIG


async def test_plain_http_gets_no_http_answer() -> None:
    async with serving(app) as peer:
        with trio.fail_after(5):
            answer = await plain(peer.addresses[0].port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP" not in answer
    assert len(answer) < 20  # TLS's own alert


async def test_an_application_is_served_over_a_unix_socket(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        sock.bind(path)
        sock.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_asgi, app, [sock])
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path)) as web:
                assert (await web.get("http://node/")).text == "ok"
            nursery.cancel_scope.cancel()


async def test_a_bug_in_one_request_is_logged_and_the_next_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(app) as peer, client() as web:
        assert (await web.get(f"https://{peer.addresses[0]}/broken")).status_code == 500
        assert (await web.get(f"https://{peer.addresses[0]}/")).text == "ok"
    assert "a bug" in caplog.text


async def test_one_address_has_so_many_connections_and_no_more() -> None:
    async with serving(app, near=False) as peer:
        streams = [
            await trio.open_tcp_stream("127.0.0.1", peer.addresses[0].port) for _ in range(9)
        ]
        with trio.fail_after(5):
            assert await streams[-1].receive_some() == b""
        await streams.pop(0).aclose()
        with trio.fail_after(5):
            while True:  # the server notices in its own time
                again = await trio.open_tcp_stream("127.0.0.1", peer.addresses[0].port)
                with trio.move_on_after(0.1) as still_open:
                    await again.receive_some()
                if still_open.cancelled_caught:
                    break
                await again.aclose()
        for stream in [*streams, again]:
            await stream.aclose()


async def test_neighbours_are_not_counted() -> None:
    async with serving(app, near=True) as peer:
        streams = [
            await trio.open_tcp_stream("127.0.0.1", peer.addresses[0].port) for _ in range(20)
        ]
        with trio.move_on_after(0.2) as still_open:
            await streams[-1].receive_some()
        assert still_open.cancelled_caught
        for stream in streams:
            await stream.aclose()


async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_HANDSHAKE_SECONDS", 0.2)
    monkeypatch.setattr(http, "_IDLE_SECONDS", 0.2)
    async with serving(app) as peer:
        stream = await trio.open_tcp_stream("127.0.0.1", peer.addresses[0].port)
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        await stream.aclose()


async def test_stopping_closes_connections_that_are_being_answered() -> None:
    async with client() as web:
        with trio.fail_after(5):
            async with serving(app) as peer:
                request = web.build_request("GET", f"https://{peer.addresses[0]}/forever")
                answer = await web.send(request, stream=True)
                assert answer.status_code == 200
            with pytest.raises(httpx.TransportError):
                await answer.aread()


async def test_garbage_after_the_handshake_ends_that_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    async with serving(app) as peer, client() as web:
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", peer.addresses[0].port, ssl_context=httpx.create_ssl_context(verify=False)
        )
        with trio.fail_after(5):
            await stream.send_all(os.urandom(100) + b"\r\n\r\n" * 9_000)
            try:
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await trio.aclose_forcefully(stream)
        assert (await web.get(f"https://{peer.addresses[0]}/")).text == "ok"
    assert not caplog.records


async def test_a_connection_that_the_client_closed_is_let_go_at_once() -> None:
    async def app(_scope: object, _receive: object, _send: object) -> None:
        raise AssertionError("nobody asked")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_asgi, app, [listener])
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                stream = await trio.open_tcp_stream(*listener.getsockname())
                await stream.aclose()
            with trio.fail_after(5):
                while len(os.listdir("/proc/self/fd")) > before:  # noqa: ASYNC110 the kernel's list
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
