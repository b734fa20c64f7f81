"""Serving an ASGI application over accepted connections: hypercorn's protocols, our accept loop.

What is served is for the application to know; here are only the limits on connections, which
hypercorn lacks.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import Counter
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from p2pfs.addresses import canonical_ip, client_group
from p2pfs.concurrency import open_nursery
from p2pfs.peers.streams.tls import TlsStream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    Asgi = Callable[[Any, Any, Any], Awaitable[None]]

# docs/wire.md, section 8.
_MAX_CONNECTIONS_A_GROUP = 8
_MAX_CONNECTIONS = 512
_MAX_HEAD_BYTES = 16 << 10
# Two round trips and a signature; a connection that does less is not a peer's.
_HANDSHAKE_SECONDS = 10
# Until the first request has arrived, and between requests; longer than our client keeps one.
_IDLE_SECONDS = 30
# Other clients may ask over HTTP/2 for several blocks at once.
_MAX_STREAMS = 16
# The process is out of descriptors: some may come free.
_OUT_OF_DESCRIPTORS_SECONDS = 0.1

_log = logging.getLogger(__name__)


async def serve_asgi(
    app: Asgi,
    listeners: Iterable[socket.socket],
    tls: ssl.SSLContext | None = None,
    is_near: Callable[[str], bool] = lambda _: False,
) -> None:
    """Answer whoever connects to the listening, non-blocking sockets, until cancelled.

    For IPs that are near no limit per IP holds.  Cancelling closes every connection at once.
    """
    server = _Server(app, tls, is_near)
    async with open_nursery() as nursery:
        nursery.start_soon(server.close_at_the_end)
        for listener in listeners:
            nursery.start_soon(server.accept_from, listener, nursery)


class _Conversation(TCPServer):
    async def _read_data(self) -> None:
        """Hypercorn's, which keeps what the client has closed until it has been idle for long."""
        await super()._read_data()
        await self.idle_task.stop()


class _Server:
    def __init__(
        self, app: Asgi, tls: ssl.SSLContext | None, is_near: Callable[[str], bool]
    ) -> None:
        self._tls = tls
        self._is_near = is_near
        self._streams: set[TlsStream | trio.SocketStream] = set()
        self._groups: Counter[str] = Counter()
        self._serve = partial(
            _Conversation,
            ASGIWrapper(partial(_answer_small_heads, app)),
            _config(),
            WorkerContext(None),
            {},
        )

    async def close_at_the_end(self) -> None:
        """Hypercorn shields its sends from cancellation, so their sockets are taken away."""
        try:
            await trio.sleep_forever()
        finally:
            for stream in tuple(self._streams):
                _socket_of(stream).close()

    async def accept_from(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, _ = listener.accept()
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    _log.warning("cannot accept a connection: %s", error.strerror)
                    await trio.sleep(_OUT_OF_DESCRIPTORS_SECONDS)
                continue  # otherwise the client has gone
            group = self._group_of(sock)
            if self._has_room(group):
                self._count(group, 1)  # now: more may be accepted before that task begins
                nursery.start_soon(self._converse, sock, group)
            else:
                sock.close()

    def _group_of(self, sock: socket.socket) -> str | None:
        """Whose connections are counted together; None if nobody's are."""
        if sock.family == socket.AF_UNIX:
            return None
        try:
            ip = canonical_ip(sock.getpeername()[0])
        except OSError:
            return None  # gone already; the next use of the socket says so
        return None if self._is_near(ip) else client_group(ip)

    def _has_room(self, group: str | None) -> bool:
        if group is None:
            return True
        return (
            self._groups.total() < _MAX_CONNECTIONS
            and self._groups[group] < _MAX_CONNECTIONS_A_GROUP
        )

    async def _converse(self, sock: socket.socket, group: str | None) -> None:
        """One connection, whose failure must not end the others."""
        try:
            await self._serve_socket(sock)
        except OSError:
            pass  # the client went away
        except BaseExceptionGroup as errors:
            cancelled, failures = errors.split(trio.Cancelled)
            if failures is not None:
                _log.error("a connection failed", exc_info=failures)
            if cancelled is not None:
                raise cancelled from None
        except Exception:  # noqa: BLE001 hypercorn's own, whatever it is
            _log.exception("a connection failed")
        finally:
            self._count(group, -1)

    def _count(self, group: str | None, change: int) -> None:
        if group is None:
            return
        self._groups[group] += change
        if not self._groups[group]:
            del self._groups[group]

    async def _serve_socket(self, sock: socket.socket) -> None:
        try:
            stream = self._stream(sock)
        except BaseException:
            sock.close()
            raise
        self._streams.add(stream)
        try:
            await self._serve(stream)  # type: ignore[arg-type]  # all that it uses is there
        finally:
            self._streams.discard(stream)
            _socket_of(stream).close()

    def _stream(self, sock: socket.socket) -> TlsStream | trio.SocketStream:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        return TlsStream(
            self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        )


async def _answer_small_heads(app: Asgi, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 ASGI's
    """h11 measures only heads that come in parts: one that is there at once may be longer."""
    if scope["type"] != "http" or _head_bytes(scope) <= _MAX_HEAD_BYTES:
        await app(scope, receive, send)
        return
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _head_bytes(scope: Any) -> int:  # noqa: ANN401 ASGI's
    fields = sum(len(name) + len(value) for name, value in scope["headers"])
    return fields + len(scope["raw_path"]) + len(scope["query_string"])


def _socket_of(stream: TlsStream | trio.SocketStream) -> TlsStream | trio.socket.SocketType:
    return stream if isinstance(stream, TlsStream) else stream.socket


def _config() -> Config:
    config = Config()
    config.errorlog = _log
    config.accesslog = None
    config.h11_max_incomplete_size = _MAX_HEAD_BYTES
    config.h2_max_header_list_size = _MAX_HEAD_BYTES
    config.h2_max_concurrent_streams = _MAX_STREAMS
    config.keep_alive_timeout = _IDLE_SECONDS
    config.ssl_handshake_timeout = _HANDSHAKE_SECONDS
    config.include_server_header = False  # the date stays: nodes without a clock read it
    return config
