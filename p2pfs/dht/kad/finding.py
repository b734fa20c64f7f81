"""Lookups as a node runs them: from its own table, by its own questions, for its own estimate.

Whom to ask next is `lookup`'s; what a region is, `estimate`'s.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from p2pfs.dht.kad.caps import capped, one_at_most, spread_out
from p2pfs.dht.kad.contacts import distance, hint_reader
from p2pfs.dht.kad.crawl import crawl
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.estimate import SizeEstimate, blinded, probes
from p2pfs.dht.kad.lookup import Lookup
from p2pfs.dht.kad.referrals import parse_referrals
from p2pfs.dht.kad.regions import Regions
from p2pfs.dht.kad.wire import Find
from p2pfs.errors import MalformedError
from p2pfs.network import NODE_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2pfs.dht.kad.contacts import Contact, Hint
    from p2pfs.dht.kad.server import Server
    from p2pfs.dht.kad.wire import Reply

# Of a region in which somebody has made ids for a key: twice k of his, and the honest k among them.
_MOST_OF_A_REGION = 60
# The closest that a visit waits for, and where it begins: with more of them joining takes more
# datagrams, and what is found is hardly more (docs/decisions/joining.md).
_VISITED = 2
_KNOWN_STARTS, _STRANGE_STARTS = 2, 6
# Strangers are taken from so many times as many, so that they need not be of one network.
_SPREAD = 4
# Where another look for the own id begins.
_MORE_KNOWN, _MORE_STRANGE = 8, 4
# Halves of k: of a newcomer's neighbours one in 700 did not come to know it when it met its own k
# alone, one in 3,000 so.
_AROUND = 3


class Finder:
    """Finds nodes for one node."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._is_near = server.settings.neighbourhood.is_near
        self._read_hint = hint_reader(server.settings.network)
        self.estimate = SizeEstimate(server.settings.k)
        self.regions = Regions(server.settings.k)

    async def holders(
        self, key: bytes, count: int, met: Callable[[Contact], object] = lambda _: None
    ) -> list[Contact]:
        """The nodes that keep what is stored under a key: the `count` closest.

        Where ids were made for the key it is all nodes as far as `count` honest ones reach.  `met`
        hears of each once, as soon as it is known to be one, and perhaps of some more: they may
        be shown the whole key.
        """
        told: set[Contact] = set()

        def tell(contact: Contact) -> None:
            if contact not in told:
                told.add(contact)
                met(contact)

        lookup = await self.lookup(key, tell)
        closest = lookup.closest()
        if self.estimate.is_suspect(key, closest):
            chosen = await self.whole_region(lookup)
        else:
            chosen = closest[:count]
            if lookup.is_over:  # one that was cut short may have missed some
                self.regions.found(key, closest, self._server.monotonic())
        for contact in chosen:
            tell(contact)
        return chosen

    async def visit(self, key: bytes, heard: Iterable[Hint]) -> Lookup:
        """Meet nodes around a key for the table's sake, which need not be all of the closest.

        It begins at a few contacts and at more strangers out of those that were `heard` of: to ask
        a contact once more brings only what it names, a stranger comes to know this node as well.
        """
        known, strangers = self._starts(key), self._strangers(key, heard, _STRANGE_STARTS)
        starts = [*known[:_KNOWN_STARTS], *strangers, *known[_KNOWN_STARTS:]]
        count = min(_VISITED, self._server.settings.k)
        return await self._meet(key, starts[: _KNOWN_STARTS + _STRANGE_STARTS], count)

    async def meet_neighbours(
        self, before: Lookup | None = None, heard: Iterable[Hint] = ()
    ) -> Lookup:
        """Meet those around this node, also beyond its k closest: it may be among theirs.

        Who has answered `before` is not asked again.  That goes on from contacts all over the table
        and a few strangers: its neighbourhood is known, and if it lies, others lead out of it.
        """
        own_id, count = self._server.own_id, self._server.settings.k * _AROUND // 2
        starts, answered = self._starts(own_id), () if before is None else before.answerers()
        if answered:
            keys = {contact.public_key for contact in answered}
            new = [hint for hint in starts if hint.public_key not in keys]
            strangers = self._strangers(own_id, heard, _MORE_STRANGE)
            starts = [*_evenly(new, _MORE_KNOWN), *strangers]
        return await self._meet(own_id, starts, count, answered)

    async def lookup(self, key: bytes, met: Callable[[Contact], object] = lambda _: None) -> Lookup:
        """The closest nodes to a key; `met` hears at once of those that are expected among them."""
        return await self._meet(key, self._starts(key), self._server.settings.k, met=met)

    def _starts(self, key: bytes) -> list[Hint]:
        """The contacts, the closest first, but those of one network after each other."""
        table = self._server.table
        known = spread_out(table.closest(key, len(table)), self._is_near)
        return [contact.hint for contact in one_at_most(known, self._server.announced)]

    def _strangers(self, key: bytes, heard: Iterable[Hint], count: int) -> list[Hint]:
        """The closest of them that were never asked; who is on the LAN is knocked at anyway."""
        server, at = self._server, int.from_bytes(key, "big")
        ordered = sorted(heard, key=lambda each: int.from_bytes(each.node_id, "big") ^ at)
        new = (
            each
            for each in ordered
            if server.table.get(each.public_key) is None
            if not server.acquaintances.was_asked(each.endpoint)
            if each.endpoint not in server.announced
        )
        closest = islice(new, count * _SPREAD)
        return spread_out(closest, self._is_near)[:count]

    async def _meet(
        self,
        key: bytes,
        starts: list[Hint],
        count: int,
        answered: Iterable[Contact] = (),
        met: Callable[[Contact], object] = lambda _: None,
    ) -> Lookup:
        """The lookup of the `count` closest that begins there, as far as it came."""
        server, reach = self._server, self.estimate.reach
        lookup = Lookup(key, server.own_key, starts, self._is_near, count, answered)
        shown = key
        if reach is not None:
            shown = blinded(key, reach, server.settings.random.randbytes(NODE_ID_BYTES))
        server.table.touch(key, server.monotonic())

        async def ask(candidate: Hint) -> None:
            contact = await self._find(lookup, shown, candidate)
            if contact is not None and _within(contact, key, reach):
                met(contact)

        await crawl(lookup, ask, lambda hint: server.asker.patience(hint.endpoint))
        for late in lookup.unanswered():
            server.failed(late.endpoint)  # if it is a contact, it is asked again soon
        if lookup.is_over:  # one that was cut short may have missed many
            self.estimate.found(key, lookup.closest(), count)
        return lookup

    async def whole_region(self, lookup: Lookup) -> list[Contact]:
        """Everybody as far as the k closest are expected to reach, looked for from several points.

        Those near the key name each other and nobody else; points beside it they do not surround.
        """
        reach = self.estimate.reach or 0
        noise = self._server.settings.random.randbytes(NODE_ID_BYTES)
        async with asyncio.TaskGroup() as probing:
            tasks = [
                probing.create_task(self.lookup(point))
                for point in probes(lookup.key, reach, noise)
            ]
        found = {  # by key: a node may have answered some of them at another address
            contact.public_key: contact
            for each in (lookup, *(task.result() for task in tasks))
            for contact in each.answerers()
            if _within(contact, lookup.key, reach)
        }
        ordered = sorted(found.values(), key=lambda contact: distance(contact.node_id, lookup.key))
        return list(islice(capped(ordered, self._is_near), _MOST_OF_A_REGION))

    async def _find(self, lookup: Lookup, shown: bytes, candidate: Hint) -> Contact | None:
        """Ask one candidate and tell the lookup; who is there, if that is one more who answers."""
        if self._server.acquaintances.is_silent(candidate.endpoint, self._server.monotonic()):
            lookup.failed(candidate)
            return None
        try:
            contact, reply = await self._ask(shown, candidate)
            named = self._hints(reply, candidate.endpoint.ip)
        except (SilentError, MalformedError):
            self._server.failed(candidate.endpoint)
            lookup.failed(candidate)
            return None
        return contact if lookup.answered(candidate, contact, named) else None

    async def _ask(self, shown: bytes, candidate: Hint) -> tuple[Contact, Reply]:
        """A proof is asked of those that have not given one; raises SilentError, MalformedError."""
        server, address, request = self._server, candidate.endpoint, Find(key=shown)
        known = server.table.get(candidate.public_key)
        if known is not None and server.table.trusts(candidate, server.monotonic()):
            reply = await server.asker.ask(address, request)
            server.table.answered(address, self._server.monotonic())
            return known, reply
        reply, proven = await server.asker.ask_proof(address, request)
        server.met(proven)
        if proven.contact.public_key == server.own_key:
            raise MalformedError("that is this node itself")
        return proven.contact, reply

    def _hints(self, reply: Reply, told_by: str) -> list[Hint]:
        """The referrals that count: puzzle solved, an address that the teller may name.

        Who is a contact by IPv4 and is named by IPv6, or the other way, is asked as a contact.
        Raises MalformedError.
        """
        counts, otherwise = self._server.settings.neighbourhood.counts, self._server.table.otherwise
        named = (
            each if (contact := otherwise(each)) is None else contact.hint
            for each in parse_referrals(reply, self._read_hint)
            if counts(each.endpoint.ip, told_by)
        )
        return [each for each in named if self._server.sockets.reaches(each.endpoint)]


def _within(contact: Contact, key: bytes, reach: int | None) -> bool:
    return reach is None or distance(contact.node_id, key) <= reach


def _evenly(ordered: list[Hint], count: int) -> list[Hint]:
    """So many of them, from all of the list."""
    length = len(ordered)
    return [ordered[at * length // count] for at in range(count)] if length > count else ordered
