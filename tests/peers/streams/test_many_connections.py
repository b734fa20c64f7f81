"""The limits on connections, hit over real sockets from many addresses."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import ip_network

import httpx
import pytest
import trio

from p2pfs.addresses import Neighbourhood
from p2pfs.peers.streams import http
from p2pfs.peers.streams.http import serve_asgi
from tests.peers.fakes import serving
from tests.peers.streams.test_http import app, plain

_CLONE_NEWNET = 0x40000000
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def dial(server: str, sources: Iterable[str]) -> tuple[socket.socket, list[socket.socket]]:
    """A listener, and a connection to it from each address."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    listener = socket.create_server((server, 0), family=family)
    port = listener.getsockname()[1]
    return listener, [
        socket.create_connection((server, port), source_address=(source, 0)) for source in sources
    ]


def dial_apart(server: str, sources: list[str]) -> tuple[socket.socket, list[socket.socket]]:
    """The same in a network of its own, in which this machine has all these addresses."""

    def enter_and_dial() -> tuple[socket.socket, list[socket.socket]]:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        ip("link", "set", "lo", "up")
        for address in dict.fromkeys([server, *sources]):
            ip("addr", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
        return dial(server, sources)

    with ThreadPoolExecutor(1) as thread:  # the sockets stay in that network, this thread does not
        return thread.submit(enter_and_dial).result()


@asynccontextmanager
async def answered(
    dialled: tuple[socket.socket, list[socket.socket]],
    is_near: Callable[[str], bool] = lambda _: False,
) -> AsyncIterator[list[bool]]:
    """Which of the connections are answered, all of them staying open."""
    listener, clients = dialled
    listener.setblocking(False)
    streams = [trio.SocketStream(trio.socket.from_stdlib_socket(client)) for client in clients]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_asgi, app, [listener], None, is_near)
        with trio.fail_after(10):
            yield [await _is_answered(stream) for stream in streams]
        nursery.cancel_scope.cancel()
    for stream in streams:
        await stream.aclose()
    listener.close()


async def _is_answered(stream: trio.SocketStream) -> bool:
    try:
        await stream.send_all(REQUEST)
        return b" 200 " in await stream.receive_some()
    except trio.BrokenResourceError:
        return False


async def test_so_many_connections_are_taken_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MAX_CONNECTIONS", 3)
    strangers = [f"127.0.0.{number}" for number in range(2, 7)]
    async with answered(dial("127.0.0.1", strangers)) as taken:
        assert taken == [True, True, True, False, False]


async def test_near_ones_are_taken_when_all_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MAX_CONNECTIONS", 1)
    near = "127.0.0.9"
    sources = ["127.0.0.2", "127.0.0.3", *[near] * 20]
    async with answered(dial("127.0.0.1", sources), lambda ip: ip == near) as taken:
        assert taken == [True, False, *[True] * 20]


@needs_root
async def test_an_ipv6_household_has_eight_connections_together() -> None:
    household = [f"2a00:0:0:{subnet}::1" for subnet in range(8)]
    sources = [*household, "2a00:0:0:ff::9", "2a00:0:0:100::1"]
    dialled = await trio.to_thread.run_sync(dial_apart, "2a00:ffff::1", sources)
    async with answered(dialled) as taken:
        assert taken == [*[True] * 8, False, True]


@needs_root
async def test_the_local_network_is_not_counted_and_strangers_are() -> None:
    attached = Neighbourhood((ip_network("10.77.0.0/24"),))
    sources = [*["10.77.0.2"] * 12, *["11.0.0.1"] * 9]
    dialled = await trio.to_thread.run_sync(dial_apart, "10.77.0.1", sources)
    async with answered(dialled, attached.is_near) as taken:
        assert taken == [*[True] * 12, *[True] * 8, False]


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(("fill", "status"), [(15 << 10, b"200"), (17 << 10, b"431")])
async def test_a_request_head_has_so_many_bytes(fill: int, status: bytes, parts: int) -> None:
    """Whether it comes at once or bit by bit."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"x" * fill + b"\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_asgi, app, [listener])
            with trio.fail_after(5):
                answer = await in_parts(listener.getsockname()[1], head, parts)
            nursery.cancel_scope.cancel()
    assert answer.split()[1] == status


@pytest.mark.parametrize(("fill", "status"), [(15 << 10, 200), (17 << 10, 431)])
async def test_http_2_has_the_same_limit(fill: int, status: int) -> None:
    async with (
        serving(app) as peer,
        httpx.AsyncClient(verify=False, trust_env=False, http2=True) as client,  # noqa: S501
    ):
        url = f"https://{peer.addresses[0]}/"
        answer = await client.get(url, headers={"x": "x" * fill})
    assert (answer.http_version, answer.status_code) == ("HTTP/2", status)


async def in_parts(port: int, request: bytes, parts: int) -> bytes:
    if parts == 1:
        return await plain(port, request)
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    size = -(-len(request) // parts)
    async with stream:
        for start in range(0, len(request), size):
            await stream.send_all(request[start : start + size])
            await trio.testing.wait_all_tasks_blocked(0.01)
        answer = b""
        while data := await stream.receive_some():
            answer += data
        return answer
