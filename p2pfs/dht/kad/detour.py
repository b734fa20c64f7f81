"""Requests over HTTPS, for as long as no datagram is answered (docs/wire.md, section 8).

Whether that is so is `blockade`'s to say.  The message is the one that a datagram would hold, but
TCP's handshake stands for the token, and TLS shows the key that a proof must be by.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from p2pfs.dht.kad.blockade import Blockade
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.wire import (
    MESSAGE_ID_BYTES,
    Kind,
    encode_request,
    parse_header,
    parse_reply,
)
from p2pfs.errors import MalformedError, P2pfsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random
    from typing import TypeAlias

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.sealed import Envelope
    from p2pfs.dht.kad.wire import Reply, Request

    # A message by HTTPS to whoever is at an address: what he answers, and his key, which TLS has
    # proven.
    PostMessage: TypeAlias = Callable[[Endpoint, bytes], Awaitable[tuple[bytes, bytes]]]

# TCP, TLS and the answer are three round trips, and the last of them is to be heard.
_ANSWER_SECONDS = 3.0
# How long it may take before others are asked as well: most of the Internet is nearer.
PATIENCE_SECONDS = 1.0
# A lookup has 24 under way, and a publish eight lookups; each costs a handshake here.
_MOST_AT_ONCE = 64


class Detour:
    """One node's.  The near and the far are judged apart: a firewall stands between them.

    `https_of`: where the node at a UDP address has its HTTPS port; `changed` hears that a detour
    begins or ends.
    """

    def __init__(
        self,
        envelope: Envelope,
        random: Random,
        monotonic: Callable[[], float],
        is_near: Callable[[str], bool],
        https_of: Callable[[Endpoint], Endpoint],
        changed: Callable[[], None],
    ) -> None:
        self.post: PostMessage | None = None  # until trio offers it; simulations have none
        self._envelope = envelope
        self._random = random
        self._monotonic = monotonic
        self._is_near = is_near
        self._https_of = https_of
        self._changed = changed
        self._blockades = {near: Blockade() for near in (True, False)}
        self._at_once = asyncio.Semaphore(_MOST_AT_ONCE)

    def sent(self, to: Endpoint) -> None:
        """A datagram has left that should be answered."""
        self._blockade(to).sent(self._monotonic())

    def answered(self, by: Endpoint) -> None:
        """A datagram was answered."""
        if self._blockade(by).answered():
            self._changed()

    @property
    def is_offered(self) -> bool:
        """Whether there is HTTPS."""
        return self.post is not None

    def is_worth_trying(self, to: Endpoint) -> bool:
        """Whether one that answers no datagram might answer here."""
        return self.is_offered and self._blockade(to).is_likely

    def is_due(self, *, near: bool) -> bool:
        """Whether it is to be found out if the near, or the far, answer datagrams."""
        return self._blockades[near].is_due(self._monotonic())

    def looked(self, *, near: bool) -> None:
        """Some of them were asked."""
        self._blockades[near].looked()

    def is_taken(self, *, near: bool) -> bool:
        """Whether all requests to the near, or the far, go by HTTPS."""
        return self._blockades[near].is_certain

    def is_taken_to(self, to: Endpoint) -> bool:
        """Whether requests to an address do."""
        return self._blockade(to).is_certain

    async def ask(self, to: Endpoint, request: Request) -> tuple[Reply, bytes]:
        """The reply, and the key of the connection; raises SilentError, MalformedError."""
        message_id = self._random.randbytes(MESSAGE_ID_BYTES)
        body = self._envelope.wrap(encode_request(message_id, request))
        raw, key = await self._posted(to, body)
        reply = reply_in(self._envelope.unwrap(raw), message_id)
        if self._blockade(to).bypassed():
            self._changed()
        return reply, key

    async def _posted(self, to: Endpoint, body: bytes) -> tuple[bytes, bytes]:
        async with self._at_once:
            if self.post is None:
                raise SilentError("there is no HTTPS here")
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await self.post(self._https_of(to), body)
            except TimeoutError as error:
                raise SilentError(f"{to} did not answer by HTTPS in time") from error
            except P2pfsError as error:
                raise SilentError(f"{to} does not answer by HTTPS: {error}") from error

    def _blockade(self, to: Endpoint) -> Blockade:
        return self._blockades[self._is_near(to.ip)]


def reply_in(message: bytes | None, message_id: bytes) -> Reply:
    """The reply to the request of that id, out of its envelope; raises MalformedError."""
    if message is None:
        raise MalformedError("an answer that no member has sealed, or not just now")
    if parse_header(message) != (Kind.REPLY, message_id):
        raise MalformedError("an answer to something else")
    return parse_reply(message)
