"""What the command line asks of a running node: its status, what it finds, and to end.

An ASGI application on a Unix socket in a folder that only its owner can enter.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import trio

from p2pfs.control.found import Refused, encode_answer, found_in
from p2pfs.errors import MalformedError
from p2pfs.library.searching import search_key
from p2pfs.status import encode_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from pathlib import Path

    from p2pfs.library.searching import Searches
    from p2pfs.status import Status

    Message = MutableMapping[str, Any]

_BACKLOG = 16  # command lines that ask at the same moment
# A person at a prompt waits longer for the whole answer than `ls` may; then what is known is told.
_SEARCH_SECONDS = 5


class Control:
    """`GET /v1/status`, `GET /v1/search?words=…&tag=…` and `POST /v1/stop`."""

    def __init__(
        self, status: Callable[[], Status], searches: Searches, stop: Callable[[], None]
    ) -> None:
        self._status = status
        self._searches = searches
        self._stop = stop

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],  # noqa: ARG002 no request has a body
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        match scope["method"], scope["path"]:
            case "GET", "/v1/status":
                await _respond(send, 200, encode_status(self._status()))
            case "GET", "/v1/search":
                await _respond(send, *await self._search(scope["query_string"]))
            case "POST", "/v1/stop":
                await _respond(send, 200, b"{}\n")
                self._stop()
            case _:
                await _respond(send, 404, b"{}\n")

    async def _search(self, query: bytes) -> tuple[int, bytes]:
        asked = parse_qs(query.decode("latin-1"))
        try:
            key = search_key(" ".join(asked.get("words", ())), asked.get("tag", ()))
        except MalformedError as error:
            return 400, encode_answer(Refused(str(error)))
        with trio.move_on_after(_SEARCH_SECONDS):
            await self._searches.refresh(key)
        listing = self._searches.listing(key)
        return 200, encode_answer(found_in(listing, complete=self._searches.is_fresh(key)))


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


async def _respond(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
