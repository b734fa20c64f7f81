"""The routing table: contacts that proved their key, in 160 buckets by common prefix.

No I/O.  Hints never get in here, so no referral can evict anybody; whoever is old and alive stays.
Times are monotonic seconds, handed in.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from p2pfs.addresses import is_v6
from p2pfs.dht.kad.buckets import BUCKETS, Buckets, bucket_at
from p2pfs.dht.kad.caps import Caps, place
from p2pfs.dht.kad.contacts import Contact, ContactSnapshot, distance, shared
from p2pfs.dht.kad.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.contacts import Hint

K = 20
# What one /16 (v6: /32) may hold of the table; of a bucket, `caps`.
_MOST_WIDE_IN_ALL = 10
# Proven contacts that wait for a place; enough to survive a bucket's death.
_MOST_WAITING = 8


class Table:
    """At most k contacts a bucket, but the k closest to the own id always."""

    def __init__(self, own_id: bytes, is_near: Callable[[str], bool], k: int = K) -> None:
        self.k = k
        self._own_id = own_id
        self._is_near = is_near
        self._entries: dict[bytes, Entry] = {}
        self._buckets = Buckets[Entry](own_id)
        self._by_endpoint: dict[Endpoint, bytes] = {}
        self._wide: Counter[str] = Counter()  # how many contacts each wide network holds
        self._failing: dict[bytes, Entry] = {}
        self._waiting: dict[int, list[Entry]] = {}
        self._touched: dict[int, float] = {}
        self._siblings_reach: int | None = None  # where the k closest to the own id end
        self._heard = -math.inf  # when anybody answered last

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, public_key: bytes) -> Contact | None:
        """The contact with that key."""
        entry = self._entries.get(public_key)
        return None if entry is None else entry.contact

    def at(self, address: Endpoint) -> Contact | None:
        """The contact at that address."""
        key = self._by_endpoint.get(address)
        return None if key is None else self.get(key)

    def knows(self, hint: Hint) -> bool:
        """Whether exactly this key was proven at exactly this address."""
        contact = self.get(hint.public_key)
        return contact is not None and contact.endpoint == hint.endpoint

    def trusts(self, hint: Hint, now: float) -> bool:
        """Whether that was proven lately, so that another proof would be a waste."""
        entry = self._entries.get(hint.public_key)
        return (
            entry is not None and entry.contact.endpoint == hint.endpoint and entry.is_trusted(now)
        )

    def answers(self, address: Endpoint) -> bool:
        """Whether the contact at an address, if any, answered last time."""
        key = self._by_endpoint.get(address)
        return key is not None and not self._entries[key].failures

    def admit(self, contact: Contact, now: float) -> bool:
        """Take in a contact whose proof was just checked, if there is room; whether it is in.

        A key that proves itself at a new address has moved, but see `otherwise`; an address that
        proves a new key has changed hands.
        """
        if contact.node_id == self._own_id:
            return False
        self._heard = now
        if self.otherwise(contact) is not None:
            return True
        entry = self._entries.get(contact.public_key)
        if entry is not None and entry.contact == contact:
            entry.proven = now
            self._seen(entry, now)
            return True
        if entry is not None:
            self._drop(entry.contact)
        former = self.at(contact.endpoint)
        if former is not None:
            self._drop(former)
        where = place(contact.endpoint.ip, self._is_near)
        entry = Entry(shared(contact), where, self._buckets.bucket(contact.node_id), now, now)
        if not self._has_room(contact):
            self._wait(entry)
            return False
        self._take(entry)
        return True

    def would_admit(self, hint: Hint) -> bool:
        """Whether a proof of this hint would bring anything."""
        if hint.node_id == self._own_id or self.knows(hint):
            return False
        if self.get(hint.public_key) is not None:
            return self.otherwise(hint) is None
        return self._has_room(hint)

    def otherwise(self, new: Contact | Hint) -> Contact | None:
        """The contact of that key, if it answers by the other family of addresses.

        Who has both has not moved with every question that he asks or is asked, but for one who
        turns out to be near by.
        """
        entry, ip = self._entries.get(new.public_key), new.endpoint.ip
        if entry is None or entry.failures or is_v6(entry.contact.endpoint.ip) is is_v6(ip):
            return None
        return entry.contact if entry.place.is_near or not self._is_near(ip) else None

    def answered(self, address: Endpoint, now: float) -> None:
        """Somebody answered at an address; the contact there, if any, is alive."""
        self._heard = now
        key = self._by_endpoint.get(address)
        if key is not None:
            self._seen(self._entries[key], now)

    def failed(self, address: Endpoint, now: float) -> None:
        """The contact at an address, if any, did not answer; see `Entry.fails`."""
        key = self._by_endpoint.get(address)
        if key is None:
            return
        entry = self._entries[key]
        self._failing[key] = entry
        if entry.fails(now, self._heard):
            self._drop(entry.contact)
            self._fill(entry.bucket)

    def closest(self, key: bytes, count: int | None = None) -> list[Contact]:
        """Exactly the k, or `count`, closest that answered last time, the closest first."""
        wanted = self.k if count is None else count
        entries = self._buckets.outwards(key)
        if self._failing:
            entries = (entry for entry in entries if not entry.failures)
        return [entry.contact for entry in islice(entries, wanted)]

    def closer(self, key: bytes) -> int:
        """How many of those that answered last time are closer to a key than this node."""
        return self._buckets.closer(key, (entry.bucket for entry in self._failing.values()))

    def suspects(self, now: float) -> list[Contact]:
        """Contacts that failed, and are due to be asked again."""
        return [entry.contact for entry in self._failing.values() if now >= entry.check_at]

    def quiet(self, before: float) -> list[Contact]:
        """Contacts not heard of since `before` that had answered then, the longest quiet first."""
        entries = self._entries.values()
        quiet = [each for each in entries if each.seen < before and not each.failures]
        return [each.contact for each in sorted(quiet, key=lambda each: each.seen)]

    def answering(self) -> int:
        """How many contacts answered last time."""
        return len(self._entries) - len(self._failing)

    def snapshot(self, began: float) -> tuple[ContactSnapshot, ...]:
        """All contacts as values, any thread; `began` is the UNIX time of monotonic time 0."""
        return tuple(
            ContactSnapshot(
                entry.contact.public_key,
                entry.contact.endpoint,
                entry.contact.https_port,
                int(began + entry.seen),
                not entry.failures,
            )
            for entry in tuple(self._entries.values())  # taken at once, whoever changes them
        )

    def touch(self, key: bytes, now: float) -> None:
        """A lookup went through the bucket of a key."""
        self._touched[self._buckets.bucket(key)] = now

    def stale_buckets(self, before: float) -> list[int]:
        """Buckets that hold contacts and that no lookup went through since `before`.

        Not those that hold none but the k closest to the own id, which its own lookup finds.
        """
        deepest = BUCKETS
        if len(self._entries) >= self.k:
            deepest = bucket_at(self._reach_of_siblings())
        return sorted(
            bucket
            for bucket in self._buckets.held()
            if bucket <= deepest and self._touched.get(bucket, -math.inf) < before
        )

    def _has_room(self, new: Contact | Hint) -> bool:
        members = self._buckets.beside(new.node_id)
        fits = len(members) < self.k or (len(members) < 2 * self.k and self._is_sibling(new))
        return fits and self._within_caps(new, members)

    def _is_sibling(self, new: Contact | Hint) -> bool:
        """Whether it is among the k closest to the own id: these are kept beyond a bucket's k."""
        return distance(new.node_id, self._own_id) < self._reach_of_siblings()

    def _reach_of_siblings(self) -> int:
        """How far the k-th closest to the own id is; beyond everybody while there are fewer."""
        if self._siblings_reach is None:
            siblings = self._buckets.closest(self._own_id, self.k)
            everybody = len(siblings) < self.k
            self._siblings_reach = (
                1 << BUCKETS if everybody else distance(siblings[-1].contact.node_id, self._own_id)
            )
        return self._siblings_reach

    def _within_caps(self, new: Contact | Hint, members: Iterable[Entry]) -> bool:
        where = place(new.endpoint.ip, self._is_near)
        in_all = self._wide[where.wide]
        if where.is_near or not in_all:
            return True
        in_bucket = Caps(each.place for each in members)
        return in_all < _MOST_WIDE_IN_ALL and in_bucket.allow(where)

    def _take(self, entry: Entry) -> None:
        contact = entry.contact
        self._entries[contact.public_key] = entry
        self._buckets.put(contact.node_id, entry)
        self._by_endpoint[contact.endpoint] = contact.public_key
        self._wide[entry.place.wide] += 1
        self._siblings_reach = None

    def _seen(self, entry: Entry, now: float) -> None:
        entry.answers(now)
        self._failing.pop(entry.contact.public_key, None)

    def _drop(self, contact: Contact) -> None:
        entry = self._entries.pop(contact.public_key)
        del self._by_endpoint[contact.endpoint]
        self._wide -= Counter((entry.place.wide,))
        self._buckets.remove(contact.node_id)
        self._failing.pop(contact.public_key, None)
        self._siblings_reach = None

    def _wait(self, entry: Entry) -> None:
        """The caps hold here too: one network could keep all others from waiting."""
        key, waiting = entry.contact.public_key, self._waiting.setdefault(entry.bucket, [])
        waiting[:] = [each for each in waiting if each.contact.public_key != key]
        others = Caps(each.place for each in waiting)
        if len(waiting) < _MOST_WAITING and others.allow(entry.place):
            waiting.append(entry)

    def _fill(self, bucket: int) -> None:
        """The place of one that was evicted goes to whoever waited longest.

        It was proven when it came, and may be gone by now.
        """
        waiting = self._waiting.get(bucket, [])
        for entry in list(waiting):
            contact = entry.contact
            taken = contact.public_key in self._entries or contact.endpoint in self._by_endpoint
            if taken or self._has_room(contact):
                waiting.remove(entry)
            if not taken and self._has_room(contact):
                self._take(entry)
                return
