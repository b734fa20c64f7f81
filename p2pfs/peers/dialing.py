"""Connecting to a peer that is named by its key, wherever it is: the network below httpcore.

The host in a URL is the peer's public key, so httpcore keeps connections by peer, and nothing it
sends can reach anybody else.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import httpcore
import trio

from p2pfs.concurrency import open_nursery
from p2pfs.peers.errors import PeerUnavailableError
from p2pfs.peers.peerstream import PIECE_BYTES, PeerStream
from p2pfs.peers.streams.credentials import client_context
from p2pfs.peers.streams.tls import connect_tls

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from p2pfs.network import MemberKeys
    from p2pfs.peers.ledger import Ledger
    from p2pfs.peers.pacing import Link
    from p2pfs.peers.streams.tls import TlsStream

    _Connected = tuple[TlsStream, float, Endpoint]

# A peer's next address is tried so long after the last one, as RFC 8305 has it.
_NEXT_ADDRESS_SECONDS = 0.25
# As many as a provider record may name.
_MAX_ADDRESSES = 4
# A label of a host name holds 63 characters at most; a key in hexadecimal has 64.
_LABEL_CHARACTERS = 32

wanted_at = ContextVar[tuple["Endpoint", ...]]("wanted_at")
"""Where a peer is: httpcore, which connects in the task that asks, passes on a host only."""


def host_of(public_key: bytes) -> str:
    """The host name that stands for a peer."""
    text = public_key.hex()
    return f"{text[:_LABEL_CHARACTERS]}.{text[_LABEL_CHARACTERS:]}"


class Dialer(httpcore.AsyncNetworkBackend):
    """Gives httpcore streams that are encrypted, to peers that have proven their key."""

    def __init__(
        self, ledger: Ledger, downlink: Link | None = None, members: MemberKeys | None = None
    ) -> None:
        self._context = client_context(members)
        self._downlink = downlink
        self._ledger = ledger
        self._scratch = memoryview(bytearray(PIECE_BYTES))

    async def connect_tcp(self, host: str, *_: object, **__: object) -> PeerStream:
        """The first connection that comes about, the addresses tried one after the other."""
        public_key = bytes.fromhex(host.replace(".", ""))
        addresses = list(dict.fromkeys(wanted_at.get()))[:_MAX_ADDRESSES]
        known = self._ledger.stats(public_key).endpoint
        addresses.sort(key=lambda endpoint: endpoint != known)  # the one that worked, first
        stream, rtt, endpoint = await self._first_of(addresses, public_key)
        self._ledger.connected(public_key, endpoint, rtt)
        is_far = self._ledger.stats(public_key).is_far
        return PeerStream(stream, endpoint, self._scratch, self._downlink, is_far=is_far)

    async def _first_of(self, addresses: list[Endpoint], public_key: bytes) -> _Connected:
        """Start an attempt after the other; the first to get through ends the others."""
        made: list[_Connected] = []
        failures = [PeerUnavailableError("no address known")]

        async def attempt(endpoint: Endpoint, tried: trio.Event) -> None:
            try:
                stream, rtt = await connect_tls(endpoint, public_key, self._context)
                made.append((stream, rtt, endpoint))
                nursery.cancel_scope.cancel()
            except PeerUnavailableError as error:
                failures.append(error)
                tried.set()

        try:
            async with open_nursery() as nursery:
                for endpoint in addresses:
                    tried = trio.Event()
                    nursery.start_soon(attempt, endpoint, tried)
                    with trio.move_on_after(_NEXT_ADDRESS_SECONDS):
                        await tried.wait()
            if not made:
                raise failures[-1]
            return made.pop(0)
        finally:
            for stream, _, _ in made:  # too late, or for nothing
                stream.close()
