"""Lookups through networks without sockets: ids with tables, dead nodes and colluders among them.

Times are virtual: 50 ms a round trip, two for each question, since all tokens are cold; the
patience and the time-out are what `acquaintances` makes of these.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest

from p2pfs.dht.kad.contacts import Contact, Hint, distance
from p2pfs.dht.kad.lookup import MAX_ASKED, Lookup
from p2pfs.dht.kad.referrals import MAX_REFERRALS
from tests.dht.kad.nodes import contact

ROUND_TRIP_SECONDS = 0.05
PATIENCE_SECONDS, TIMEOUT_SECONDS = 0.2, 0.25

# What colluder, asked for which key, names.
Lie: TypeAlias = Callable[["Network", Contact, bytes], list[Hint]]


@dataclass(frozen=True)
class Outcome:
    found: list[Contact]
    asked: int
    seconds: float


class Network:
    """Nodes whose tables are as Kademlia's: k random ones of each bucket, and the k closest."""

    def __init__(self, size: int, k: int, seed: int) -> None:
        self.k, self.random = k, random.Random(seed)
        self.nodes = [contact(seed * 100_000 + number) for number in range(size)]
        self.by_hint = {each.hint: each for each in self.nodes}
        self.colluders: list[Contact] = []
        self.colluding: set[Contact] = set()
        self.dead: set[Contact] = set()
        self._tables: dict[Contact, list[Contact]] = {}

    def corrupt(self, share: float) -> None:
        self.colluders = self.random.sample(self.nodes, int(share * len(self.nodes)))
        self.colluding = set(self.colluders)

    def kill(self, share: float) -> None:
        self.dead = set(self.random.sample(self.nodes, int(share * len(self.nodes))))

    def table(self, owner: Contact) -> list[Contact]:
        if owner not in self._tables:
            buckets: dict[int, list[Contact]] = {}
            for each in self.random.sample(self.nodes, len(self.nodes)):
                bits = distance(each.node_id, owner.node_id).bit_length()
                bucket = buckets.setdefault(bits, [])
                if bits and len(bucket) < self.k:
                    bucket.append(each)
            near = self.closest(owner.node_id, self.nodes, self.k + 1)
            held = {each for bucket in buckets.values() for each in bucket} | set(near)
            self._tables[owner] = list(held - {owner})
        return self._tables[owner]

    def closest(self, key: bytes, among: list[Contact], count: int) -> list[Contact]:
        return heapq.nsmallest(count, among, key=lambda each: distance(each.node_id, key))

    def honest(self) -> list[Contact]:
        return [each for each in self.nodes if each not in self.colluding | self.dead]

    def lookup(self, asker: Contact, key: bytes, lie: Lie) -> Outcome:
        starts = self.closest(key, self.table(asker), len(self.nodes))
        lookup = Lookup(
            key, asker.public_key, (each.hint for each in starts), lambda _: True, self.k
        )
        events: list[tuple[float, int, str, Hint]] = []
        now, asked = 0.0, 0
        while True:
            for hint in lookup.todo():
                asked += 1
                silent = self.by_hint.get(hint) in self.dead | {None}
                answers = TIMEOUT_SECONDS if silent else self._two_round_trips()
                event = "failed" if silent else "answered"
                heapq.heappush(events, (now + answers, 2 * asked, event, hint))
                heapq.heappush(events, (now + PATIENCE_SECONDS, 2 * asked + 1, "late", hint))
            if lookup.is_over or not events:
                assert lookup.asked == asked
                return Outcome(lookup.closest(), asked, now)
            now, _, event, hint = heapq.heappop(events)
            if event == "late":
                lookup.late(hint)
            elif event == "failed":
                lookup.failed(hint)
            else:
                node = self.by_hint[hint]
                lookup.answered(hint, node, self._named(node, key, lie))

    def _named(self, node: Contact, key: bytes, lie: Lie) -> list[Hint]:
        if node in self.colluding:
            return lie(self, node, key)
        return [each.hint for each in self.closest(key, self.table(node), MAX_REFERRALS)]

    def _two_round_trips(self) -> float:
        return 2 * ROUND_TRIP_SECONDS * self.random.uniform(1, 1.3)


def nearest_colluders(network: Network, _: Contact, key: bytes) -> list[Hint]:
    """They agree with each other, and name nobody else."""
    return [each.hint for each in network.closest(key, network.colluders, MAX_REFERRALS)]


def ever_closer_colluders(network: Network, liar: Contact, key: bytes) -> list[Hint]:
    """As many steps as can be made out of colluders, to use up what a lookup may ask."""
    away = distance(liar.node_id, key)
    closer = [each for each in network.colluders if distance(each.node_id, key) < away]
    closer.sort(key=lambda each: -distance(each.node_id, key))
    return [each.hint for each in closer[:MAX_REFERRALS]]


def dead_ends(network: Network, _: Contact, key: bytes) -> list[Hint]:
    """Nodes that there are not, nearer to the key than any."""
    return [
        Hint(network.random.randbytes(32), key[:3] + network.random.randbytes(17), each.endpoint)
        for each in network.nodes[:MAX_REFERRALS]
    ]


@dataclass
class Tally:
    """What many lookups of one network came to."""

    right: list[bool] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def share_right(self) -> float:
        return sum(self.right) / len(self.right)


def tally(network: Network, lookups: int, lie: Lie = nearest_colluders) -> Tally:
    """The right node is the closest honest one."""
    result, honest = Tally(), network.honest()
    alive = [each for each in network.nodes if each not in network.dead]
    for _ in range(lookups):
        asker, key = network.random.choice(honest), network.random.randbytes(20)
        outcome = network.lookup(asker, key, lie)
        others = [each for each in honest if each != asker]
        truly = [each for each in network.closest(key, alive, network.k + 1) if each != asker]
        truly = truly[: network.k]
        result.right.append(network.closest(key, others, 1)[0] in outcome.found)
        result.recall.append(len(set(truly) & set(outcome.found)) / network.k)
        result.asked.append(outcome.asked)
        result.seconds.append(outcome.seconds)
    assert max(result.asked) <= MAX_ASKED
    return result


@pytest.mark.parametrize("k", [8, 20])
def test_among_honest_nodes_the_k_closest_are_found_in_few_round_trips(k: int) -> None:
    result = tally(Network(600, k, seed=1), 40)
    assert set(result.recall) == {1.0}
    assert sorted(result.seconds)[20] < 0.5
    assert sum(result.asked) / 40 < 80


@pytest.mark.parametrize("lie", [nearest_colluders, ever_closer_colluders, dead_ends])
@pytest.mark.parametrize(("share", "bar"), [(0.1, 1.0), (0.3, 0.98)])
def test_colluders_do_not_hide_the_right_node(lie: Lie, share: float, bar: float) -> None:
    network = Network(600, 8, seed=2)
    network.corrupt(share)
    assert tally(network, 40, lie).share_right() >= bar


def test_half_of_all_nodes_colluding_hide_the_right_one_in_a_few_lookups_of_a_hundred() -> None:
    network = Network(600, 8, seed=3)
    network.corrupt(0.5)
    assert tally(network, 80).share_right() >= 0.95


@pytest.mark.parametrize(("share", "bar"), [(0.1, 0.6), (0.3, 1.0), (0.5, 2.0)])
def test_dead_contacts_do_not_stall_a_lookup(share: float, bar: float) -> None:
    network = Network(600, 20, seed=4)
    network.kill(share)
    result = tally(network, 40)
    assert sorted(result.seconds)[20] <= bar
    assert result.share_right() >= 0.98
