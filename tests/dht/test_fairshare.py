"""Properties of the one rule by which room is shared out."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfs.dht.fairshare import Members, Origin, loser, origin_of

ips = st.one_of(
    st.tuples(st.integers(11, 13), st.integers(0, 2), st.integers(0, 2)).map(
        lambda parts: "{}.{}.{}.1".format(*parts)
    ),
    st.tuples(st.integers(1, 3), st.integers(0, 2)).map(
        lambda parts: "2a0{}:0:{}::1".format(*parts)
    ),
)
arrivals = st.lists(st.tuples(ips, st.binary(min_size=1, max_size=1)), max_size=80)
limits = st.integers(1, 12)


class FullRoom:
    """So many places, given to whoever comes by the rule under test."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.members: Members[bytes] = Members()
        self.origins: dict[bytes, Origin] = {}

    def arrive(self, origin: Origin) -> Origin | None:
        """Whose record had to leave; the newcomer's own if it was refused."""
        name = len(self.origins).to_bytes(4, "big")
        leaving = None
        if self.size() >= self.limit:
            leaving = loser(origin, self.members)
            if leaving is None:
                return origin
            self.members.remove(self.members.first_to_leave(leaving), leaving)
        self.members.add(name, origin, -len(self.origins))
        self.origins[name] = origin
        return leaving

    def size(self) -> int:
        return sum(self.held().values())

    def held(self) -> Counter[bytes]:
        """How many records each /16 (IPv6: /32) has."""
        wides = {origin[0] for origin in self.origins.values()}
        return Counter({wide: self.members.size((wide,)) for wide in wides})


def filled(limit: int, came: list[tuple[str, bytes]]) -> FullRoom:
    room = FullRoom(limit)
    for ip, publisher in came:
        room.arrive(origin_of(publisher, ip))
        assert room.size() <= limit
    return room


@given(limits, arrivals)
@settings(deadline=None)
def test_an_honest_publisher_from_a_new_network_always_gets_in(
    limit: int, came: list[tuple[str, bytes]]
) -> None:
    room = filled(limit, came)
    for newcomer in (origin_of(b"honest", "99.1.2.3"), origin_of(b"honest", "2b00::1")):
        assert room.arrive(newcomer) != newcomer
        assert room.members.size(newcomer) == 1


@given(limits, arrivals, ips, st.binary(min_size=1, max_size=1))
@settings(deadline=None)
def test_nobody_displaces_a_record_of_a_group_that_is_not_larger_than_his_own(
    limit: int, came: list[tuple[str, bytes]], ip: str, publisher: bytes
) -> None:
    room = filled(limit, came)
    newcomer = origin_of(publisher, ip)
    leaving = loser(newcomer, room.members) if room.size() else None
    if leaving is None:
        return
    apart = next(depth for depth in range(3) if newcomer[depth] != leaving[depth])
    own, other = newcomer[: apart + 1], leaving[: apart + 1]
    assert room.members.size(own) < room.members.size(other)


@given(limits, arrivals, st.integers())
@settings(deadline=None)
def test_in_whatever_order_they_come_networks_end_with_as_much_but_for_one(
    limit: int, came: list[tuple[str, bytes]], seed: int
) -> None:
    shuffled = random.Random(seed).sample(came, len(came))
    wanted = Counter(origin_of(publisher, ip)[0] for ip, publisher in came)
    for order in (came, shuffled):
        held = filled(limit, order).held()
        most = max(held.values(), default=0)
        assert sum(held.values()) == min(limit, len(came))
        # What wanted more than it has, has as much as any, or one less.
        assert all(held[wide] >= min(wanted[wide], most - 1) for wide in wanted)


def test_groups_are_those_of_the_protocol() -> None:
    assert origin_of(b"p", "8.9.10.11") == (b"\x08\x09", b"\x08\x09\x0a", b"\x08\x09\x0a/p")
    wide, narrow, who = origin_of(b"p", "2001:db8:1:2::1")
    assert (wide.hex(), narrow.hex(), who[-2:]) == ("20010db8", "20010db80001", b"/p")
