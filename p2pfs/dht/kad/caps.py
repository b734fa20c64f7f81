"""What one network may hold of a bucket, and of a lookup's result.  Pure.

Networks cost an attacker more than ids.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol, TypeVar

from p2pfs.addresses import prefix_group

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from p2pfs.addresses import Endpoint

# Of a /24 (v6: /48), and of a /16 (v6: /32).
MOST_NARROW = 2
MOST_WIDE = 3


class Located(Protocol):
    """Whatever is at an address: a hint or a contact."""

    @property
    def endpoint(self) -> Endpoint: ...


T = TypeVar("T", bound=Located)


class Caps:
    """Counts networks; addresses nearby are exempt."""

    def __init__(self, is_near: Callable[[str], bool], taken: Iterable[Located] = ()) -> None:
        self._is_near = is_near
        self._held = Counter(group for each in taken for group in prefix_group(each.endpoint.ip))

    def allow(self, ip: str) -> bool:
        """Whether one more from there is within the caps."""
        if self._is_near(ip):
            return True
        wide, narrow = prefix_group(ip)
        return self._held[narrow] < MOST_NARROW and self._held[wide] < MOST_WIDE

    def count(self, ip: str) -> None:
        """One more is there."""
        self._held.update(prefix_group(ip))


def capped(ordered: Iterable[T], is_near: Callable[[str], bool]) -> Iterator[T]:
    """Those that obey the caps, the first of a network first."""
    caps = Caps(is_near)
    for each in ordered:
        if caps.allow(each.endpoint.ip):
            caps.count(each.endpoint.ip)
            yield each


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
