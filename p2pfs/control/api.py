"""What the command line asks of a running node: its status, and to end.

An ASGI application on a Unix socket in a folder that only its owner can enter.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from p2pfs.status import encode_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from pathlib import Path

    from p2pfs.status import Status

    Message = MutableMapping[str, Any]

_BACKLOG = 16  # command lines that ask at the same moment


class Control:
    """`GET /v1/status` and `POST /v1/stop`."""

    def __init__(self, status: Callable[[], Status], stop: Callable[[], None]) -> None:
        self._status = status
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
            case "POST", "/v1/stop":
                await _respond(send, 200, b"{}\n")
                self._stop()
            case _:
                await _respond(send, 404, b"{}\n")


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
