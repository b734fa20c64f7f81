"""An HTTP answer on its way through ASGI: whole, in pieces, or cut where it cannot go on.

What is answered is for `gateway`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import trio

from p2pfs.concurrency import open_nursery
from p2pfs.errors import P2pfsError
from p2pfs.peers.trustless import RefusedError

if TYPE_CHECKING:
    from p2pfs.peers.trustless import Headers

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Pieces are about 1 MiB, so this is a minimum speed of 17 KB/s; of a limited node they are smaller,
# and the wait until they are due is not held against the client.
_PIECE_SECONDS = 60
# What a client sends with a POST comes in this time, or not at all: 9 KB/s for the largest.
_UPLOAD_SECONDS = 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; what `pieces` give in all is as long as the headers say."""

    status: HTTPStatus
    headers: Headers
    pieces: AsyncGenerator[bytes | bytearray, None]


def whole(
    status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8"
) -> Answer:
    """An answer that is in memory already."""
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    return Answer(status, headers, once(body))


def refusal(status: HTTPStatus, message: str) -> Answer:
    """Why there is nothing else, in plain text."""
    answer = whole(status, f"{message}\n".encode())
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        answer.headers.append((b"retry-after", b"1"))
    return answer


async def respond(answer: Answer, method: str, receive: Receive, send: Send) -> None:
    """`send_answer`, until the client goes: hypercorn would have it go on for nobody."""
    async with open_nursery() as nursery:
        nursery.start_soon(_wait_gone, receive, nursery.cancel_scope)
        await send_answer(answer, method, send)
        nursery.cancel_scope.cancel()


async def send_answer(answer: Answer, method: str, send: Send) -> None:
    """Send all of it; raises what its pieces raise before the first of them is there.

    What they raise later cuts the answer: returning before the declared length was sent makes
    hypercorn close the connection.
    """
    start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
    if method == "HEAD":
        await send(start)
        await send({"type": "http.response.body", "body": b""})
        return
    async with aclosing(answer.pieces) as pieces:
        first = await anext(pieces)
        await send(start)
        try:
            await _send_piece(first, send)
            async for piece in pieces:
                await _send_piece(piece, send)
        except (P2pfsError, trio.TooSlowError) as error:
            _log.info("an answer was cut: %s", error)
            return
    await send({"type": "http.response.body", "body": b""})


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    """The body of a request; raises RefusedError for one that is too long or too slow."""
    body = bytearray()
    more = True
    with trio.move_on_after(_UPLOAD_SECONDS) as patience:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the body was cut")
            body += message["body"]
            more = message["more_body"]
            if len(body) > max_bytes:
                raise RefusedError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {max_bytes} bytes"
                )
    if patience.cancelled_caught:
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the body comes too slowly")
    return bytes(body)


async def _send_piece(piece: bytes | bytearray, send: Send) -> None:
    with trio.fail_after(_PIECE_SECONDS):
        await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _wait_gone(receive: Receive, answering: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    answering.cancel()


async def once(body: bytes) -> AsyncGenerator[bytes | bytearray, None]:
    """The only piece."""
    yield body
