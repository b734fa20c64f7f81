"""Whose record leaves when there is no room for another: room is shared out among networks.  Pure.

Where records lie, and how many are too many, is for the stores.
"""

from __future__ import annotations

from ipaddress import ip_address
from itertools import count, pairwise
from typing import Generic, Protocol, TypeAlias, TypeVar

Origin: TypeAlias = tuple[bytes, bytes, bytes]
"""Three groups, each within the one before: /16 (IPv6: /32), /24 (/48), the publisher there.

No two groups have the same name, wherever they lie.
"""
Groups: TypeAlias = tuple[bytes, ...]
"""The first few of an origin: a group, and those that it lies in."""

_DEPTH = 3
_PREFIX_BYTES = {4: (2, 3), 16: (4, 6)}

_ALL = b""

M = TypeVar("M", bound=bytes)


def origin_of(publisher: bytes, source_ip: str) -> Origin:
    """The groups of a record that came from this canonical IP."""
    packed = ip_address(source_ip).packed
    wide, narrow = _PREFIX_BYTES[len(packed)]
    return packed[:wide], packed[:narrow], packed[:narrow] + b"/" + publisher


def network_ip(origin: Origin) -> str:
    """The first address of the /24 or /48 that a record came from: its groups, without its host."""
    narrow = origin[1]
    return str(ip_address(narrow.ljust(4 if len(narrow) == _PREFIX_BYTES[4][1] else 16, b"\0")))


class Crowd(Protocol):
    """How many records each group has of some room that is full."""

    def size(self, groups: Groups) -> int:
        """Of the last of these; 0 if it has none."""

    def largest(self, within: Groups) -> bytes:
        """The largest group directly within the last of these, which has some (none: of all)."""


def loser(newcomer: Origin, crowd: Crowd) -> Origin | None:
    """Whose oldest record makes room for the newcomer; None if the newcomer is refused.

    The largest network loses to any smaller one, so whoever comes from a new one gets in; within
    one network the same holds for its parts, and within these for publishers.  Nobody loses to a
    group as large as his own.
    """
    for depth, group in enumerate(newcomer):
        within = newcomer[:depth]
        rival = crowd.largest(within)
        if crowd.size((*within, group)) < crowd.size((*within, rival)):
            return _largest_below((*within, rival), crowd)
    return None


def _largest_below(groups: Groups, crowd: Crowd) -> Origin:
    while len(groups) < _DEPTH:
        groups = (*groups, crowd.largest(groups))
    wide, narrow, publisher = groups
    return wide, narrow, publisher


class Members(Generic[M]):
    """A crowd counted in memory: each member has an origin, and a turn to leave."""

    def __init__(self) -> None:
        self._sizes: dict[bytes, int] = {}
        self._within: dict[bytes, dict[bytes, None]] = {}
        self._turns: dict[bytes, dict[M, int]] = {}
        self._highest_turns: dict[bytes, int] = {}  # as far as they were looked for

    def add(self, member: M, origin: Origin, turn: int) -> None:
        """The highest turn of a publisher's leaves first."""
        for within, group in pairwise((_ALL, *origin)):
            self._within.setdefault(within, {})[group] = None
            self._sizes[group] = self._sizes.get(group, 0) + 1
            self._highest_turns.pop(group, None)
        self._turns.setdefault(origin[-1], {})[member] = turn

    def remove(self, member: M, origin: Origin) -> None:
        """One that was added with this origin."""
        del self._turns[origin[-1]][member]
        if not self._turns[origin[-1]]:
            del self._turns[origin[-1]]
        for within, group in reversed(tuple(pairwise((_ALL, *origin)))):
            self._sizes[group] -= 1
            self._highest_turns.pop(group, None)
            if not self._sizes[group]:
                del self._sizes[group], self._within[within][group]
                self._within.pop(group, None)

    def size(self, groups: Groups) -> int:
        return self._sizes.get(groups[-1], 0)

    def largest(self, within: Groups) -> bytes:
        """Of equally large ones that which holds the highest turn; of these the first by name."""
        groups = self._within[within[-1] if within else _ALL]
        most = max(self._sizes[group] for group in groups)
        equals = [group for group in groups if self._sizes[group] == most]
        return equals[0] if len(equals) == 1 else self._first_of(equals)

    def highest_turn(self, origin: Origin) -> int:
        """Of a publisher that has some."""
        return max(self._turns[origin[-1]].values())

    def first_to_leave(self, origin: Origin) -> M:
        """Of a publisher that has some."""
        turns = self._turns[origin[-1]]
        return max(turns, key=lambda member: (turns[member], member))

    def _first_of(self, equals: list[bytes]) -> bytes:
        return min(equals, key=lambda group: (-self._highest_in(group), group))

    def _highest_in(self, group: bytes) -> int:
        found = self._highest_turns.get(group)
        if found is None:
            turns = self._turns.get(group)
            inner = turns.values() if turns else map(self._highest_in, self._within[group])
            found = self._highest_turns[group] = max(inner)
        return found


class Residents(Members[M]):
    """Members of whose equally large groups the one that has been there longest counts as largest.

    A room may have so many members that a store cannot tell quickly which group has the oldest.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count()
        self._since: dict[bytes, int] = {}
        self._left: set[bytes] = set()

    def add(self, member: M, origin: Origin, turn: int) -> None:
        super().add(member, origin, turn)
        for group in origin:
            if group not in self._since:
                self._since[group] = next(self._numbers)

    def remove(self, member: M, origin: Origin) -> None:
        super().remove(member, origin)
        self._left.update(group for group in origin if group not in self._sizes)

    def settle(self) -> None:
        """Whoever left has left for good; until then a group that comes back has not been away."""
        for group in self._left:
            if group not in self._sizes:
                del self._since[group]
        self._left.clear()

    def _first_of(self, equals: list[bytes]) -> bytes:
        return min(equals, key=self._since.__getitem__)
