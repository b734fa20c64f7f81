"""A request as those see it who answer: what is asked for, how, and by whom.

How many may be under way, and who answers which path, is for `gateway`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from p2pfs.addresses import Endpoint, canonical_ip
from p2pfs.peers.answers import Answer
from p2pfs.peers.trustless import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from p2pfs.peers.answers import Message, Receive


@dataclass(frozen=True, slots=True)
class Asked:
    """`path` is decoded; `source` is where the asker comes from; `here` where it has reached us."""

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    source: Endpoint
    here: Endpoint
    receive: Receive

    @property
    def ip(self) -> str:
        """The asker's, canonical."""
        return self.source.ip

    def need_method(self, *methods: str) -> None:
        """Raises RefusedError for any other."""
        if self.method not in methods:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{self.method} means nothing here")


Answering = Callable[[Asked], Awaitable[Answer]]
"""Raises RefusedError, NotFoundError, or MalformedError for a request that is wrong."""


def asked_of(scope: Message, receive: Receive) -> Asked:
    """A request out of the ASGI's terms."""
    (host, port), (asker, asker_port) = scope["server"], scope["client"]
    return Asked(
        scope["method"],
        scope["path"],
        scope["query_string"],
        dict(scope["headers"]),
        Endpoint(canonical_ip(asker), asker_port),
        Endpoint(canonical_ip(host), port),
        receive,
    )
