"""Datagrams in and out: `rpcudp`'s framing with a strict reader and calls that can be cancelled.

What requests mean is `answers`, whom to ask and with which token `asking`.  Of `rpcudp` and
`kademlia` the framing and the life cycle are kept; what reads a datagram is replaced whole, since
theirs trusts it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from kademlia.protocol import KademliaProtocol

from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.wire import (
    MESSAGE_ID_BYTES,
    Kind,
    encode_reply,
    encode_request,
    parse_header,
    parse_reply,
    parse_request,
)
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from kademlia.node import Node

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.sockets import Transport
    from p2pfs.dht.kad.wire import Reply, Request

_LOG = logging.getLogger(__name__)


class _Call(NamedTuple):
    to: Endpoint
    reply: asyncio.Future[Reply]


class Protocol(KademliaProtocol):
    """One node's end of the overlay."""

    transport: Transport

    def __init__(self, source_node: Node, storage: object, ksize: int, random: Random) -> None:
        super().__init__(source_node, storage, ksize)  # type: ignore[no-untyped-call]  # kademlia
        self._random = random
        self._calls: dict[bytes, _Call] = {}
        self.answer: Callable[[Request, Endpoint, int], Reply | None] = _no_answer

    def __getattr__(self, name: str) -> NoReturn:
        """`rpcudp` turns every unknown attribute into a remote call; here it is a mistake."""
        raise AttributeError(name)

    @property
    def open_calls(self) -> int:
        """How many answers are waited for."""
        return len(self._calls)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # several sockets in one
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Endpoint) -> None:  # type: ignore[override]  # cleaned by `sockets`
        """Never raises, whatever the datagram holds."""
        try:
            kind, message_id = parse_header(data)
            if kind is Kind.REPLY:
                self._take_reply(message_id, data, addr)
            else:
                self._take_request(message_id, data, addr)
        except MalformedError as error:
            _LOG.debug("dropped a datagram of %s: %s", addr, error)
        except Exception:  # noqa: BLE001 the edge: one bad handler must not end the node
            _LOG.exception("a datagram of %s could not be handled", addr)

    async def call(self, to: Endpoint, request: Request, timeout: float) -> Reply:  # noqa: ASYNC109 measured per address
        """The reply to one datagram; raises SilentError, MalformedError.

        Cancelling it leaves nothing behind.
        """
        message_id = self._random.randbytes(MESSAGE_ID_BYTES)
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Reply] = loop.create_future()
        late = loop.call_later(timeout, _give_up, reply, to, timeout)
        self._calls[message_id] = _Call(to, reply)
        try:
            self.transport.sendto(encode_request(message_id, request), to)
            return await reply
        finally:
            late.cancel()
            del self._calls[message_id]

    def tell(self, to: Endpoint, request: Request) -> None:
        """Send a request that gets no answer."""
        message_id = self._random.randbytes(MESSAGE_ID_BYTES)
        self.transport.sendto(encode_request(message_id, request), to)

    def _take_request(self, message_id: bytes, data: bytes, source: Endpoint) -> None:
        reply = self.answer(parse_request(data), source, len(data))
        if reply is not None:
            self.transport.sendto(encode_reply(message_id, reply), source)

    def _take_reply(self, message_id: bytes, data: bytes, source: Endpoint) -> None:
        call = self._calls.get(message_id)
        if call is None or call.to != source or call.reply.done():
            return
        try:
            call.reply.set_result(parse_reply(data))
        except MalformedError as error:
            call.reply.set_exception(error)


def _give_up(reply: asyncio.Future[Reply], to: Endpoint, waited: float) -> None:
    if not reply.done():
        reply.set_exception(SilentError(f"{to} did not answer within {waited:.2f} s"))


def _no_answer(_request: Request, _source: Endpoint, _length: int) -> None:
    """Before the node is ready."""
