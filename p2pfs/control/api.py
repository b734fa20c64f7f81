"""The local HTTP API: an ASGI application on a Unix socket that only its owner can reach.

It reads questions and writes answers; what they mean is in the modules beside this one.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from p2pfs.concurrency import open_nursery
from p2pfs.control.calls import (
    MAX_QUESTION_BYTES,
    PREFIX,
    Answering,
    Failed,
    Streaming,
    Told,
)
from p2pfs.errors import NotFoundError, P2pfsError, UsageError
from p2pfs.peers.answers import Answer, respond
from p2pfs.status import encode_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
    from pathlib import Path

    from p2pfs.control.calls import Endpoint, Telling

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_BACKLOG = 16  # command lines that ask at the same moment
_OK = 200
_REFUSED = 400
_UNKNOWN = 404

_log = logging.getLogger(__name__)


class Control:
    """Answers `POST /v1/<name>` by the endpoint of that name."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        endpoint = self._endpoints.get(scope["path"].removeprefix(PREFIX))
        if endpoint is None or scope["method"] != "POST":
            gone = NotFoundError(f"this node knows nothing of {scope['method']} {scope['path']}")
            await _respond(send, _UNKNOWN, _failed(gone))
            return
        try:
            question = _parsed(await _body(receive), endpoint.question)
            if isinstance(endpoint, Answering):
                answer = await endpoint.answer(question)
                await _respond(send, _OK, answer)
                return
            if isinstance(endpoint, Streaming):
                await _stream(endpoint, question, receive, send)
                return
        except P2pfsError as error:
            await _respond(send, _REFUSED, _failed(error))
        except Exception as error:  # noqa: BLE001 the edge: one odd question must not end the node
            _log.exception("%s cannot be answered", scope["path"])
            await _respond(send, _REFUSED, _failed(error))
        else:
            await _tell(endpoint, question, receive, send)


async def _stream(endpoint: Streaming, question: object, receive: Receive, send: Send) -> None:
    length = str(endpoint.length(question)).encode()
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", length)]
    await respond(Answer(HTTPStatus.OK, headers, endpoint.stream(question)), "POST", receive, send)


async def _tell(endpoint: Telling, question: object, receive: Receive, send: Send) -> None:
    """The values as they come; who is gone is told no more."""
    await send({"type": "http.response.start", "status": _OK, "headers": _headers()})
    async with open_nursery() as nursery:

        async def end_when_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(end_when_gone)
        async with aclosing(_lines(endpoint.tell(question))) as lines:
            async for line in lines:
                await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        nursery.cancel_scope.cancel()


async def _lines(values: AsyncGenerator[msgspec.Struct, None]) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(values):
            async for value in values:
                yield msgspec.json.encode(Told(value)) + b"\n"
    except P2pfsError as error:
        yield msgspec.json.encode(Told(failed=_failed(error))) + b"\n"
    except Exception as error:  # noqa: BLE001 as in `Control`
        _log.exception("an answer broke off")
        yield msgspec.json.encode(Told(failed=_failed(error))) + b"\n"


def _parsed(body: bytes, question: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.json.decode(body or b"{}", type=question)
    except msgspec.MsgspecError as error:
        raise UsageError(f"the question cannot be read: {error}") from error


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_QUESTION_BYTES:
            raise UsageError("too much at once; ask in several commands")
        if not message.get("more_body", False):
            return bytes(body)


def _failed(error: Exception) -> Failed:
    return Failed(str(error), error.exit_code if isinstance(error, P2pfsError) else 1)


async def _respond(send: Send, status: int, answer: msgspec.Struct) -> None:
    body = encode_json(answer)
    headers = [*_headers(), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers() -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"application/json")]


def bind_control(path: Path) -> socket.socket:
    """A listening socket at `path`, of any length, mode 0600, in the place of a dead one.

    The caller holds the home's lock, so whatever is there is nobody's.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        os.fchmod(sock.fileno(), 0o600)  # before bind: the file takes the socket's mode
        # A socket's path may be at most 107 bytes long, so it is named by its folder's descriptor.
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock
