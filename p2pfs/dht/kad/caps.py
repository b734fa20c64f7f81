"""What one network may hold of a bucket, and of a lookup's result.  Pure.

Networks cost an attacker more than ids.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from p2pfs.addresses import prefix_group

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from p2pfs.addresses import Endpoint

# Of a /24 (v6: /48), and of a /16 (v6: /32).
MOST_NARROW = 2
MOST_WIDE = 3
# Lookups meet the same addresses again and again; some 200 bytes each.
_REMEMBERED = 16_384


class Located(Protocol):
    """Whatever is at an address: a hint or a contact."""

    @property
    def endpoint(self) -> Endpoint: ...


T = TypeVar("T", bound=Located)
P = TypeVar("P", bound="Placed")


class Place(NamedTuple):
    """Where an address is, as far as caps care; worked out once, since it is asked for often."""

    is_near: bool
    wide: str
    narrow: str


class Placed(Protocol):
    """Whatever knows its place."""

    @property
    def place(self) -> Place: ...


def place(ip: str, is_near: Callable[[str], bool]) -> Place:
    """Where an IP is."""
    return _place(is_near(ip), ip)


@lru_cache(_REMEMBERED)
def _place(is_near: bool, ip: str) -> Place:
    return Place(is_near, *prefix_group(ip))


class Caps:
    """Counts networks; addresses nearby are exempt."""

    def __init__(self, taken: Iterable[Place] = ()) -> None:
        self._held: defaultdict[str, int] = defaultdict(int)
        for each in taken:
            self._held[each.narrow] += 1
            self._held[each.wide] += 1

    def allow(self, place: Place) -> bool:
        """Whether one more from there is within the caps."""
        held = self._held
        return place.is_near or (held[place.narrow] < MOST_NARROW and held[place.wide] < MOST_WIDE)

    def take(self, place: Place) -> bool:
        """Count one more from there if it is within the caps; whether it is."""
        held, (is_near, wide, narrow) = self._held, place
        allowed = is_near or (held[narrow] < MOST_NARROW and held[wide] < MOST_WIDE)
        if allowed:
            held[narrow] += 1
            held[wide] += 1
        return allowed


def first_within(ordered: Iterable[P], count: int) -> Iterator[P]:
    """The first `count` that obey the caps."""
    rest = iter(ordered)
    first = tuple(islice(rest, count))
    if len({each.place.wide for each in first}) == len(first):  # nobody shares a network
        yield from first
        return
    take = Caps().take
    yield from islice((each for each in chain(first, rest) if take(each.place)), count)


def capped(ordered: Iterable[T], is_near: Callable[[str], bool]) -> Iterator[T]:
    """Those that obey the caps, the first of a network first."""
    caps = Caps()
    return (each for each in ordered if caps.take(place(each.endpoint.ip, is_near)))


def spread_out(ordered: Iterable[T], is_near: Callable[[str], bool]) -> list[T]:
    """The first of each /16 (v6: /32), then the second of each, and so on; those nearby first."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, T]] = []
    for each in ordered:
        wide, _ = prefix_group(each.endpoint.ip)
        ranked.append((0 if is_near(each.endpoint.ip) else seen[wide], each))
        seen[wide] += 1
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])]


def one_at_most(ordered: Sequence[T], suspects: Container[Endpoint]) -> list[T]:
    """Without all but the first at those addresses, unless they are all there is."""
    first = next((each for each in ordered if each.endpoint in suspects), None)
    others = [each for each in ordered if each is first or each.endpoint not in suspects]
    return others if len(others) > 1 else list(ordered)
