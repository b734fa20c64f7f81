"""At which addresses other nodes see this one.  Values only: who may be believed is decided before.

One liar must not make up an address for us, so distinct networks are counted, not voices.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from p2pfs.addresses import prefix_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Endpoint

# The last that spoke; enough for a majority, and old networks are forgotten after a move.
_VOICES = 64


class Observed:
    """What proven peers say of where this node's datagrams come from."""

    def __init__(self, is_near: Callable[[str], bool]) -> None:
        self._is_near = is_near
        self._said: OrderedDict[bytes, tuple[str, Endpoint]] = OrderedDict()

    def says(self, public_key: bytes, speaker: Endpoint, seen: Endpoint) -> bool:
        """A proven peer's word; whether anything changed."""
        group = speaker.ip if self._is_near(speaker.ip) else prefix_group(speaker.ip)[0]
        changed = self._said.pop(public_key, None) != (group, seen)
        self._said[public_key] = (group, seen)
        if len(self._said) > _VOICES:
            self._said.popitem(last=False)
        return changed

    def addresses(self) -> tuple[Endpoint, ...]:
        """What was said, by how many distinct networks said it, most first.

        Left out is what fewer than half as many say as of another address of its family and scope:
        each change is announced with every file, so a lone liar must not bring one about.
        """
        groups: dict[Endpoint, set[str]] = {}
        for group, seen in self._said.values():
            groups.setdefault(seen, set()).add(group)
        most: Counter[tuple[bool, bool]] = Counter()
        for seen, said_by in groups.items():
            most[self._kind(seen)] = max(most[self._kind(seen)], len(said_by))
        believed = [seen for seen in groups if 2 * len(groups[seen]) >= most[self._kind(seen)]]
        return tuple(sorted(believed, key=lambda seen: (-len(groups[seen]), seen)))

    def _kind(self, seen: Endpoint) -> tuple[bool, bool]:
        return ":" in seen.ip, self._is_near(seen.ip)
