"""How a node joins the overlay and stays in it: knocking, greeting, remembering.

Lookups and records are `server`'s, filling the table `refreshing`'s.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from p2pfs.dht.kad.budget import RateLimit
from p2pfs.dht.kad.contacts import hint
from p2pfs.dht.kad.lookout import Lookout
from p2pfs.dht.kad.referrals import pack_address, parse_address
from p2pfs.dht.kad.refreshing import refresh
from p2pfs.dht.recordstore import RecordStoreError
from p2pfs.errors import MalformedError
from p2pfs.network import PUBLIC_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.proof import Proven
    from p2pfs.dht.kad.server import Server
    from p2pfs.dht.kad.wire import Request

_LOG = logging.getLogger(__name__)

# The look at who is to be knocked at, or asked again.
_TICK_SECONDS = 0.5
# One small datagram to an address that may be nobody's (docs/wire.md, section 7); on loopback and
# the own subnet no such limit applies, and nodes there are often started together.
_KNOCK_SECONDS = 5.0
_KNOCK_NEAR_SECONDS = 1.0
# A peer that is well, and for which the table has no room.
_KNOCK_AGAIN_SECONDS = 600.0
# What a liar's flood of "I am here" can make this node do at once, and for one IP.
_MOST_GREETINGS = 32
_GREETINGS_A_SECOND, _GREETINGS_AT_ONCE = 1, 10
# A small network is looked at often: a node that has just come matters to all the others.
_SELF_LOOKUP_SECONDS = 600.0
_SELF_LOOKUP_SMALL_SECONDS = 30.0
_SMALL = 20
# A newcomer begins with so many who answered, if they do so within this time: of what it listed
# where half of all nodes had colluded from the beginning .65 were theirs, now .54 (k = 20).
_COMPANY = 3
_COMPANY_SECONDS = 0.3
_SAVE_SECONDS = 60.0
_EXPIRE_SECONDS = 600.0
# After a day off all that was stored has expired: minutes of work, and a tenth of the time for it.
_EXPIRE_MORE_SECONDS = 0.1
_MOST_SAVED = 200
# What a LAN's nodes announce is looked at so often, a second apart: a datagram may be lost.
_FOUND_TRIES = 3
_MOST_FOUND = 64
# As many as a table can hold.
_MOST_ANNOUNCED = 3_200


class Membership:
    """The loops of one node, and the tasks they start; all end with `run`."""

    def __init__(self, server: Server, peers: Iterable[Endpoint], saved: Iterable[bytes]) -> None:
        self._server = server
        self._peers = dict.fromkeys(peers)
        self._saved = dict.fromkeys(saved_addresses(saved))
        self._found: dict[Endpoint, int] = {}  # how often each is still to be tried
        self._knocked: dict[Endpoint, float] = {}
        self._busy: dict[Endpoint, asyncio.Task[None]] = {}
        self._lookout = Lookout(server)
        self._greetings = RateLimit(_GREETINGS_A_SECOND, _GREETINGS_AT_ONCE)
        self._joined = asyncio.Event()
        self._settled = asyncio.Event()

    def may_knock_again(self, address: Endpoint) -> bool:
        """Whether the user, or the last run, named an address that never answered in this one."""
        return address in self._peers or address in self._saved

    @property
    def known(self) -> tuple[Endpoint, ...]:
        """Where the user, or the last run, says that nodes are; any thread."""
        return tuple(self._peers | self._saved)

    def add_peer(self, address: Endpoint) -> None:
        """Knock at an address, as if it had been named at the start."""
        self._peers = {**self._peers, address: None}
        self._server.named_ips.add(address.ip)
        self._look_around()

    def look_at(self, address: Endpoint) -> None:
        """Knock at an address that somebody on the LAN announces, a few times."""
        server = self._server
        if len(self._found) >= _MOST_FOUND or server.table.answers(address):
            return
        if address not in self.known:
            server.announced[address] = None
            if len(server.announced) > _MOST_ANNOUNCED:
                server.announced.popitem(last=False)
        self._found[address] = _FOUND_TRIES
        self._look_around()

    async def run(self) -> None:
        """Until cancelled; leaves no task behind, and saves the contacts."""
        self._restore()
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._settle())
                loops.create_task(self._each(_TICK_SECONDS, self._look_around))
                loops.create_task(self._refresh())
                loops.create_task(self._each(_SAVE_SECONDS, self._save))
                loops.create_task(self._expire())
        finally:
            busy = list(self._busy.values())
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
            await self._lookout.stop()
            self._save()

    def introduce(self) -> None:
        """Look for those whom this node belongs near, who may not know it yet as it is now."""
        self._joined.set()

    async def wait_settled(self) -> None:
        """Until the first of those known at the start has answered, or none has."""
        await self._settled.wait()

    def greet(self, request: Request, source: Endpoint) -> None:
        """Somebody asks and says who it is: see whether it is true, if it could be of use."""
        server = self._server
        if request.asker is None or source in self._busy:
            return
        found = hint(server.settings.network, request.asker, source)
        if found is None:
            return
        if server.table.knows(found):
            server.table.answered(source, server.monotonic())
            return
        if not server.table.would_admit(found) or len(self._busy) >= _MOST_GREETINGS:
            return
        near = server.settings.neighbourhood.is_near(source.ip)
        if not near and not self._greetings.allows(source.ip, server.monotonic()):
            return
        try:
            self._met(server.introductions.checked(request, source))
        except MalformedError:  # it brings no proof, or none that is known to be meant for here
            self._start(source)

    async def _settle(self) -> None:
        try:
            self._look_around()
            knocks = set(self._busy.values())
            while knocks and not len(self._server.table):
                _, knocks = await asyncio.wait(knocks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not len(self._server.table):  # else `_refresh` looks for the own id first
                self._settled.set()

    def _look_around(self) -> None:
        """Knock at whoever is due, and at those contacts that failed."""
        now = self._server.monotonic()
        for address in self._due(now):
            self._knocked[address] = now
            self._start(address)
            self._tried(address)
        self._lookout.look(now)
        for contact in self._server.table.suspects(now):
            self._start(contact.endpoint)

    def _due(self, now: float) -> list[Endpoint]:
        """The user's peers while they do not answer, all known ones while nobody does."""
        table = self._server.table
        wanted = (*self._peers, *self._found, *(() if table.answering() else self._saved))
        return [
            address
            for address in dict.fromkeys(wanted)
            if not table.answers(address)
            and now - self._knocked.get(address, -1e9) >= self._pause(address)
        ]

    def _tried(self, address: Endpoint) -> None:
        if address in self._found:
            self._found[address] -= 1
            if not self._found[address]:
                del self._found[address], self._knocked[address]

    def _pause(self, address: Endpoint) -> float:
        near = self._server.settings.neighbourhood.is_near(address.ip)
        return _KNOCK_NEAR_SECONDS if near else _KNOCK_SECONDS

    def _start(self, address: Endpoint) -> None:
        if address not in self._busy:
            task = asyncio.create_task(self._verify(address))
            self._busy[address] = task
            task.add_done_callback(lambda _: self._busy.pop(address, None))

    async def _verify(self, address: Endpoint) -> None:
        table = self._server.table
        alone = not len(table)
        proven = await self._server.verify(address)
        if alone and len(table):
            self._joined.set()
        # One of those that are knocked at, for which a full table has no room.
        if proven and table.at(address) is None and address in self._knocked:
            self._knocked[address] = self._server.monotonic() + _KNOCK_AGAIN_SECONDS

    def _met(self, proven: Proven) -> None:
        alone = not len(self._server.table)
        self._server.met(proven)
        if alone and len(self._server.table):
            self._joined.set()

    async def _refresh(self) -> None:
        """Look for the own id after the first contact and every so often, and in old buckets."""
        while True:
            small = len(self._server.table) < _SMALL
            pause = _SELF_LOOKUP_SMALL_SECONDS if small else _SELF_LOOKUP_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._joined.wait()
            except TimeoutError:
                pass
            await self._wait_for_company()
            self._joined.clear()
            try:
                await refresh(self._server, self._settled.set)
            except Exception:  # noqa: BLE001 the edge: the node must not stop looking around
                _LOG.exception("in the overlay")

    async def _wait_for_company(self) -> None:
        """A moment for others to answer too: the first may lie, and lead to his like alone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_COMPANY_SECONDS):
                while self._busy and len(self._server.table) < _COMPANY:
                    await asyncio.wait(self._busy.values(), return_when=asyncio.FIRST_COMPLETED)

    async def _each(self, seconds: float, act: Callable[[], None]) -> None:
        while True:
            try:
                act()
            except Exception:  # noqa: BLE001 the edge: a full disk now need not be one in a minute
                _LOG.exception("in the overlay")
            await asyncio.sleep(seconds)

    def _restore(self) -> None:
        """What the last run knew of the network's size."""
        try:
            self._server.finder.estimate.restore(self._server.settings.records.estimate())
        except RecordStoreError as error:
            _LOG.warning("the overlay does not know how large it was: %s", error)

    def _save(self) -> None:
        """For the next run, and for this one if it loses them all."""
        records = self._server.settings.records
        contacts = sorted(self._server.contacts(), key=lambda each: -each.last_seen)
        if contacts:
            latest = dict.fromkeys(each.endpoint for each in contacts if each.answers)
            self._saved = dict.fromkeys(islice(latest | self._saved, _MOST_SAVED))
            try:
                records.keep_contacts(
                    (each.public_key + pack_address(each.endpoint), each.last_seen)
                    for each in contacts[:_MOST_SAVED]
                )
                records.keep_estimate(self._server.finder.estimate.encode())
            except RecordStoreError as error:
                _LOG.warning("contacts are not kept for the next run: %s", error)

    async def _expire(self) -> None:
        while True:
            try:
                expired = self._server.settings.records.expire(self._server.now())
            except RecordStoreError as error:
                _LOG.warning("what has expired is not forgotten yet: %s", error)
                expired = 0
            await asyncio.sleep(_EXPIRE_MORE_SECONDS if expired else _EXPIRE_SECONDS)


def saved_addresses(saved: Iterable[bytes]) -> Iterable[Endpoint]:
    """The addresses in what `_save` wrote; what cannot be read is left out."""
    for raw in saved:
        try:
            yield parse_address(raw[PUBLIC_KEY_BYTES:])
        except MalformedError:
            continue
