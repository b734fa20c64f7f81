"""Asking one node: the token first, then the question, then the proof if one is needed.

By datagram, or by `detour` where nobody answers one.  Whom to ask is `lookup`; what is done with
an answer, `server`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from p2pfs.dht.kad.clocks import Clocks
from p2pfs.dht.kad.detour import PATIENCE_SECONDS
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.proof import proven, proven_over_tls
from p2pfs.dht.kad.referrals import pack_address
from p2pfs.dht.kad.wire import NONCE_BYTES, Ping
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.acquaintances import Acquaintances
    from p2pfs.dht.kad.detour import Detour
    from p2pfs.dht.kad.proof import Proven
    from p2pfs.dht.kad.protocol import Protocol
    from p2pfs.dht.kad.settings import Settings
    from p2pfs.dht.kad.wire import Reply, Request


# A datagram that shows whether any get through is waited for as long as the slowest.
_PROBE_SECONDS = 1.5


@dataclass(slots=True)
class _Handshake:
    """Asking for a token, shared by all who need it; ends when the last of them leaves."""

    task: asyncio.Task[bytes]
    waiting: int = 0


class Asker:
    """One-to-one conversations, and what they teach about addresses.

    `may_knock`: whether an address that never answered may be asked now, which is counted;
    `signed`: a request with the token of the one asked, and what that shall know of this node.
    """

    def __init__(
        self,
        protocol: Protocol,
        detour: Detour,
        settings: Settings,
        own_port: Callable[[], int],
        acquaintances: Acquaintances,
        may_knock: Callable[[Endpoint], bool],
        signed: Callable[[Request, bytes, Endpoint], Request],
    ) -> None:
        self._protocol = protocol
        self._detour = detour
        self._network = settings.network
        self._own_port = own_port
        self._acquaintances = acquaintances
        self._may_knock = may_knock
        self._signed = signed
        self._random = settings.random
        self._clock = settings.clock
        self._monotonic = settings.monotonic
        self.clocks = Clocks()
        self._handshakes: dict[Endpoint, _Handshake] = {}

    async def ask(self, to: Endpoint, request: Request) -> Reply:
        """The reply to a request; raises SilentError, MalformedError."""
        return (await self._ask(to, request))[0]

    async def ask_proof(self, to: Endpoint, request: Request) -> tuple[Reply, Proven]:
        """The reply, and who gave it; raises SilentError, MalformedError."""
        request = msgspec.structs.replace(
            request, nonce=self._random.randbytes(NONCE_BYTES), named=pack_address(to)
        )
        reply, key = await self._ask(to, request)
        own_port = self._own_port()
        who = (
            proven(reply, request, to, own_port, self._network)
            if key is None
            else proven_over_tls(reply, request, to, own_port, self._network, key)
        )
        if reply.proof is not None:
            self.clocks.saw(reply.proof.public_key, reply.proof.time, self._clock())
        return reply, who

    async def knock(self, to: Endpoint) -> Proven:
        """Who is at an address; raises SilentError, MalformedError."""
        return (await self.ask_proof(to, Ping()))[1]

    def patience(self, to: Endpoint) -> float:
        """How long its answer may take before others are asked in its place."""
        if self._detour.is_taken_to(to):
            return PATIENCE_SECONDS
        return self._acquaintances.patience(to, self._monotonic())

    async def probe(self, to: Endpoint) -> None:
        """See whether a datagram gets through to a node that has answered before."""
        started = self._monotonic()
        ping = Ping(nonce=self._random.randbytes(NONCE_BYTES))
        try:
            await self._protocol.call(to, ping, _PROBE_SECONDS)
        except (SilentError, MalformedError):
            return
        self._detour.answered(to)
        self._acquaintances.answered(to, self._monotonic() - started)

    async def _ask(self, to: Endpoint, request: Request) -> tuple[Reply, bytes | None]:
        """The reply, and the key of the connection it came over; None if it was a datagram."""
        if self._detour.is_taken_to(to):
            return await self._ask_by_detour(to, request)
        try:
            return await self._ask_by_datagram(to, request), None
        except SilentError:
            if not self._detour.is_worth_trying(to):
                raise
            return await self._ask_by_detour(to, request)

    async def _ask_by_datagram(self, to: Endpoint, request: Request) -> Reply:
        reply = await self._ask_with(await self._token(to), to, request)
        if reply.is_challenge and reply.token is not None:  # its secret or its clock has changed
            reply = await self._ask_with(reply.token, to, request)
            if reply.is_challenge:
                raise MalformedError("it refuses the token it has just issued")
        return reply

    async def _ask_by_detour(self, to: Endpoint, request: Request) -> tuple[Reply, bytes]:
        """Who asks so does not say who he is: he could not be asked back."""
        self._need_budget(to)
        self._acquaintances.asking(to, self._monotonic())
        try:
            reply, key = await self._detour.ask(to, request)
        except SilentError:
            self._acquaintances.kept_silent(to, self._monotonic())
            raise
        self._acquaintances.heard(to)
        return reply, key

    async def _ask_with(self, token: bytes, to: Endpoint, request: Request) -> Reply:
        reply = await self._timed(to, self._signed(request, token, to))
        if reply.token is not None:
            self._acquaintances.keep_token(to, reply.token, self._monotonic())
        return reply

    async def _token(self, to: Endpoint) -> bytes:
        token = self._acquaintances.token(to, self._monotonic())
        if token is not None:
            return token
        handshake = self._handshakes.get(to)
        if handshake is None:
            handshake = _Handshake(asyncio.create_task(self._shake_hands(to)))
            self._handshakes[to] = handshake
        handshake.waiting += 1
        try:
            return await asyncio.shield(handshake.task)
        finally:
            handshake.waiting -= 1
            if not handshake.waiting:
                self._handshakes.pop(to, None)
                handshake.task.cancel()

    async def _shake_hands(self, to: Endpoint) -> bytes:
        self._need_budget(to)
        # The nonce only pads: a request must not be smaller than the token it asks for.
        reply = await self._timed(to, Ping(nonce=self._random.randbytes(NONCE_BYTES)))
        if reply.token is None:
            raise MalformedError("an answer without a token")
        self._acquaintances.keep_token(to, reply.token, self._monotonic())
        return reply.token

    def _need_budget(self, to: Endpoint) -> None:
        """Raise SilentError for one that has never answered, and was asked often enough."""
        if not self._acquaintances.has_answered(to) and not self._may_knock(to):
            raise SilentError(f"{to} has been asked often enough, and never answered")

    async def _timed(self, to: Endpoint, request: Request) -> Reply:
        started = self._monotonic()
        self._acquaintances.asking(to, started)
        self._detour.sent(to)
        try:
            reply = await self._protocol.call(to, request, self._acquaintances.timeout(to))
        except SilentError:
            self._acquaintances.kept_silent(to, self._monotonic())
            raise
        self._acquaintances.answered(to, self._monotonic() - started)
        self._detour.answered(to)
        return reply
