"""The overlay over HTTPS, `/p2pfs/v1/rpc`: one request a body, for those whose UDP is blocked.

What a request means is for the overlay; its other end is `strangers`.  Beside it
`/p2pfs/v1/observed`, which says where an asker is seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.wire import MAX_DATAGRAM_BYTES
from p2pfs.peers.answers import Answer, read_body, whole
from p2pfs.peers.trustless import RefusedError

if TYPE_CHECKING:
    from p2pfs.peers.asked import Asked

AnswerRequest = Callable[[bytes, Endpoint], Awaitable[bytes | None]]
"""The reply to a request from an address, None if it asks too often; raises MalformedError."""

RPC_PATH = "/p2pfs/v1/rpc"
OBSERVED_PATH = "/p2pfs/v1/observed"


class Rpc:
    def __init__(self, answer: AnswerRequest) -> None:
        self._answer = answer

    async def answer(self, asked: Asked) -> Answer:
        """What a datagram would be answered; of its size at most, as the request is."""
        asked.need_method("POST")
        body = await read_body(asked.receive, MAX_DATAGRAM_BYTES)
        reply = await self._answer(body, asked.source)
        if reply is None:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "that is asked too often")
        return whole(HTTPStatus.OK, reply, "application/octet-stream")


async def observed(asked: Asked) -> Answer:
    """The address that the asker comes from, as `HOST:PORT`."""
    asked.need_method("GET", "HEAD")
    return whole(HTTPStatus.OK, str(asked.source).encode())
