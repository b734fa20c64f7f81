"""Dial-backs: having somebody else send this node a datagram, and doing the same for others.

A asks B to be reached; B asks C, of another network, to dial A; C sends A's nonce to A.  Nobody is
sent more than was sent to bring it about, and nothing but what he has asked for himself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from p2pfs.addresses import is_v6, prefix_group
from p2pfs.dht.kad.budget import RateLimit
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.referrals import pack_address, parse_address
from p2pfs.dht.kad.wire import Dial, Dialed, Reach
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.server import Server

# docs/wire.md, section 7: one in 10 s a target, so that this is no weapon.
_DIALS_A_SECOND = 0.1
# Each asks one node, which sends one datagram; more at once is somebody's game.
_MOST_UNDER_WAY = 32
# Who helps at once: one may know nobody else, or keep silent.
_HELPERS = 3
# From here on a helper can choose somebody of another network.
_ENOUGH_CONTACTS = 3
# Two hops and a way back, each with its time-out.
_WAIT_SECONDS = 3.0


class Dialbacks:
    """One node's part in them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._passed = RateLimit(_DIALS_A_SECOND, 1)
        self._dialed = RateLimit(_DIALS_A_SECOND, 1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()

    async def check(self) -> bool:
        """Ask some contacts for one, by IPv4 and by IPv6; whether strangers' get through."""
        far = [each.endpoint for each in self._server.far_contacts()]
        for family in (False, True):
            helpers = [each for each in far if is_v6(each.ip) is family]
            if helpers:
                await self._ask_for_some(helpers)
        return self._server.reachability.is_heard(self._server.monotonic())

    async def _ask_for_some(self, helpers: list[Endpoint]) -> None:
        server = self._server
        started = server.monotonic()
        self._arrived.clear()
        chosen = server.settings.random.sample(helpers, min(_HELPERS, len(helpers)))
        nonces = [server.reachability.expect(started) for _ in chosen]
        async with asyncio.TaskGroup() as asking:
            for helper, nonce in zip(chosen, nonces, strict=True):
                asking.create_task(self._ask_quietly(helper, Reach(dial_nonce=nonce)))
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._arrived.wait()
        except TimeoutError:
            pass

    @property
    def may_show(self) -> bool:
        """Whether somebody may be left whom this node never asked, whose dial-back would count.

        With fewer than 2 k contacts nearly everybody was asked on joining, so that nobody new could
        ever become a server.
        """
        return len(self._server.table) >= 2 * self._server.table.k

    def reach(self, nonce: bytes, asker: Endpoint) -> None:
        """Have somebody else dial the asker, at where his request came from."""
        others = [each.endpoint for each in self._server.far_contacts()]
        others = [each for each in others if each.ip != asker.ip]
        # Whoever was met by another family may have no way to the asker.
        others = [each for each in others if is_v6(each.ip) is is_v6(asker.ip)] or others
        if len(others) >= _ENOUGH_CONTACTS:
            network = prefix_group(asker.ip)[0]
            others = [each for each in others if prefix_group(each.ip)[0] != network]
        if not others or len(self._tasks) >= _MOST_UNDER_WAY:
            return
        if self._passed.allows(asker.ip, self._server.monotonic()):
            helper = self._server.settings.random.choice(others)
            request = Dial(dial_nonce=nonce, target=pack_address(asker))
            task = asyncio.create_task(self._ask_quietly(helper, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def dial(self, nonce: bytes, packed: bytes, teller: Endpoint) -> None:
        """Send the nonce to an address, once, if whoever tells of it may name it."""
        server = self._server
        try:
            target = parse_address(packed)
        except MalformedError:
            return
        counts = server.settings.neighbourhood.counts(target.ip, teller.ip)
        if counts and self._dialed.allows(target.ip, server.monotonic()):
            server.acquaintances.told(target, server.monotonic())
            server.protocol.tell(target, Dialed(dial_nonce=nonce))

    def dialed(self, nonce: bytes, source: Endpoint) -> None:
        """A nonce has come; it says something only from an IP that nothing was sent to lately."""
        server, now = self._server, self._server.monotonic()
        if server.acquaintances.was_sent_to(source.ip, now):
            return
        if server.reachability.dialed(nonce, source.ip, now):
            self._arrived.set()

    def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()

    async def _ask_quietly(self, to: Endpoint, request: Reach | Dial) -> None:
        try:
            await self._server.asker.ask(to, request)
        except (SilentError, MalformedError):
            return
