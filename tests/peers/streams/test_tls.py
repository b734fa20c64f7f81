from __future__ import annotations

import os
import socket
import ssl

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.dht.overlay import Provider
from p2pfs.identity import public_key_of_certificate
from p2pfs.peers.errors import PeerUnavailableError, WrongKeyError
from p2pfs.peers.streams.credentials import client_context
from p2pfs.peers.streams.tls import TlsStream, connect_tls
from tests.peers.fakes import identity, scripted


async def connect(peer: Provider, key: bytes | None = None) -> TlsStream:
    stream, rtt = await connect_tls(peer.addresses[0], key or peer.public_key, client_context())
    assert 0 <= rtt < 5
    return stream


async def echo(stream: TlsStream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


async def test_bytes_arrive_as_they_were_sent_in_both_directions() -> None:
    sent = os.urandom(3 << 20)
    received = bytearray(len(sent))
    async with scripted(echo) as peer, trio.open_nursery() as nursery:
        stream = await connect(peer)
        nursery.start_soon(stream.send_all, sent)
        view = memoryview(received)
        while view:
            view = view[await stream.receive_into(view, len(view)) :]
        assert received == sent
        assert not stream.has_arrived()
        stream.close()


async def test_both_ends_speak_tls_1_3_and_nothing_older() -> None:
    async with scripted(echo) as peer:
        stream = await connect(peer)
        assert stream.socket.version() == "TLSv1.3"
        stream.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(PeerUnavailableError, match="TLS"):
            await connect_tls(peer.addresses[0], peer.public_key, old)


async def test_a_peer_with_another_key_gets_no_byte_after_the_handshake() -> None:
    got: list[bytes] = []
    ended = trio.Event()

    async def listen(stream: TlsStream) -> None:
        got.append(await stream.receive_some())
        ended.set()

    async with scripted(listen) as peer:
        with pytest.raises(WrongKeyError):
            await connect(peer, identity("somebody else").public_key)
        with trio.fail_after(5):
            await ended.wait()
    assert got == [b""]


async def test_the_certificate_is_the_identitys() -> None:
    async with scripted(echo) as peer:
        stream = await connect(peer)
        certificate = stream.peer_certificate()
        assert certificate is not None
        assert public_key_of_certificate(certificate) == identity("server").public_key
        stream.close()


async def test_the_first_answer_takes_three_round_trips() -> None:
    """TCP, TLS, request: the request leaves with the last flight of the handshake."""
    async with scripted(echo) as peer:
        trips = [0]
        with socket.create_server(("127.0.0.1", 0)) as relay:
            relay.setblocking(False)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count_turns, relay, peer.addresses[0].port, trips)
                near = Provider(peer.public_key, (Endpoint(*relay.getsockname()),))
                stream = await connect(near)
                await stream.send_all(b"request")
                assert await stream.receive_some() == b"request"
                nursery.cancel_scope.cancel()
            stream.close()
    assert trips == [2]  # and TCP's own


async def count_turns(relay: socket.socket, port: int, trips: list[int]) -> None:
    """Pass bytes on; a turn is counted whenever the server speaks after the client."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(relay.dup()))
    client = await listener.accept()
    server = await trio.open_tcp_stream("127.0.0.1", port)
    last = [client]

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for data in source:
            if source is server and last[0] is client:
                trips[0] += 1
            last[0] = source
            await sink.send_all(data)

    async with listener, client, server, trio.open_nursery() as nursery:
        nursery.start_soon(pump, client, server)
        nursery.start_soon(pump, server, client)


async def test_nobody_listening_is_one_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(PeerUnavailableError, match="refused"):
        await connect_tls(Endpoint("127.0.0.1", port), b"k" * 32, client_context())


async def test_a_server_that_does_not_speak_tls_is_one_error() -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"220 mail.example.org ESMTP\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, greet, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(PeerUnavailableError, match="TLS"):
            await connect_tls(Endpoint("127.0.0.1", port), b"k" * 32, client_context())
        nursery.cancel_scope.cancel()


async def test_closing_wakes_whoever_waits() -> None:
    async with scripted(echo) as peer:
        stream = await connect(peer)

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            stream.close()
        assert stream.has_arrived()
        stream.close()


async def test_a_peer_that_takes_nothing_breaks_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pfs.peers.streams.tls._SEND_STALL_SECONDS", 0.1)

    async def deaf(stream: TlsStream) -> None:
        await trio.sleep_forever()

    async with scripted(deaf) as peer:
        stream = await connect(peer)
        with pytest.raises(trio.BrokenResourceError, match="takes nothing"):
            await stream.send_all(bytes(64 << 20))
        stream.close()
