"""The rows under one key in the memory of a virtual network's node.

What a store makes of them is `memorystore`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2pfs.content.metainfo import has_expired
from p2pfs.dht.fairshare import Members

if TYPE_CHECKING:
    from p2pfs.dht.fairshare import Origin
    from p2pfs.dht.records import Record

_NEVER = 1 << 63


@dataclass(frozen=True, slots=True)
class Row:
    """A record, and whom it is put down to."""

    record: Record
    digest: bytes  # the record's, which is costly to compute again for every list of names
    origin: Origin
    turn: int


@dataclass(slots=True)
class KeyRows:
    """By their slots."""

    by_slot: dict[bytes, Row] = field(default_factory=dict)
    _earliest: int = _NEVER  # nothing expires before
    _crowd: Members[bytes] | None = None  # slots; half of all memory, and few keys are ever full

    @property
    def crowd(self) -> Members[bytes]:
        if self._crowd is None:
            self._crowd = Members()
            for slot, row in self.by_slot.items():
                self._crowd.add(slot, row.origin, row.turn)
        return self._crowd

    def add(self, row: Row) -> None:
        self.by_slot[row.record.slot] = row
        self._earliest = min(self._earliest, row.record.expires)
        if self._crowd is not None:
            self._crowd.add(row.record.slot, row.origin, row.turn)

    def remove(self, row: Row) -> None:
        del self.by_slot[row.record.slot]
        if self._crowd is not None:
            self._crowd.remove(row.record.slot, row.origin)

    def count(self, now: int) -> int:
        """How many are alive."""
        if not has_expired(self._earliest, now):
            return len(self.by_slot)
        return sum(not has_expired(row.record.expires, now) for row in self.by_slot.values())

    def alive(self, now: int) -> list[Row]:
        """In the order of the slots."""
        slots = sorted(self.by_slot) if len(self.by_slot) > 1 else self.by_slot
        rows = [self.by_slot[slot] for slot in slots]
        if not has_expired(self._earliest, now):
            return rows
        return [row for row in rows if not has_expired(row.record.expires, now)]

    def expired(self, now: int) -> list[Row]:
        """Those that are not, for the caller to remove."""
        if not has_expired(self._earliest, now):
            return []
        rows = self.by_slot.values()
        times = (row.record.expires for row in rows)
        self._earliest = min((at for at in times if not has_expired(at, now)), default=_NEVER)
        return [row for row in rows if has_expired(row.record.expires, now)]
