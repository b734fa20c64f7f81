"""At which addresses other nodes see this one.  Values only: who may be believed is decided before.

One liar must not make up an address for us, so distinct networks are counted, not voices.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from p2pfs.addresses import Scope, is_v6, prefix_group, scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Endpoint

# The last that spoke; enough for a majority, and old networks are forgotten after a move.
_VOICES = 64


class Observed:
    """What proven peers say of where this node's datagrams come from."""

    def __init__(self, is_near: Callable[[str], bool]) -> None:
        self._is_near = is_near
        self._said: dict[bytes, tuple[str, Endpoint]] = {}
        # The same by what was said, since that is asked with every proof: voices a network.
        self._groups: dict[Endpoint, Counter[str]] = {}
        self._believed: tuple[Endpoint, ...] = ()

    def says(self, public_key: bytes, speaker: Endpoint, seen: Endpoint) -> None:
        """A proven peer's word."""
        group = speaker.ip if self._is_near(speaker.ip) else prefix_group(speaker.ip)[0]
        if self._said.get(public_key) == (group, seen):
            self._said[public_key] = self._said.pop(public_key)  # the last that spoke
            return
        self._forget(public_key)
        self._said[public_key] = (group, seen)
        self._groups.setdefault(seen, Counter())[group] += 1
        if len(self._said) > _VOICES:
            self._forget(next(iter(self._said)))
        self._believed = self._most_said()

    def addresses(self) -> tuple[Endpoint, ...]:
        """What was said, by how many distinct networks said it, most first; any thread.

        Left out is what fewer than half as many say as of another address of its family and scope:
        each change is announced with every file, so a lone liar must not bring one about.
        """
        return self._believed

    def _most_said(self) -> tuple[Endpoint, ...]:
        if len(self._groups) == 1:  # as nearly always
            return tuple(self._groups)
        groups = {seen: len(said_by) for seen, said_by in self._groups.items()}
        most: Counter[tuple[bool, bool]] = Counter()
        for seen, count in groups.items():
            most[self._kind(seen)] = max(most[self._kind(seen)], count)
        believed = [seen for seen in groups if 2 * groups[seen] >= most[self._kind(seen)]]
        return tuple(sorted(believed, key=lambda seen: (-groups[seen], seen)))

    def _forget(self, public_key: bytes) -> None:
        if public_key in self._said:
            group, seen = self._said.pop(public_key)
            voices = self._groups[seen]
            voices[group] -= 1
            if not voices[group]:
                del voices[group]
            if not voices:
                del self._groups[seen]

    def _kind(self, seen: Endpoint) -> tuple[bool, bool]:
        is_far = scope(seen.ip) is Scope.GLOBAL and not self._is_near(seen.ip)
        return is_v6(seen.ip), is_far
