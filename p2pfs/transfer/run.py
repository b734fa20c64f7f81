"""One request under way: which bytes of whom, and since when they are late.

Pure.  Which requests there are is decided in `plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.transfer.standing import Standing

Span = tuple[int, int]
"""Bytes of the file, half-open."""


@dataclass(slots=True, eq=False)
class Run:
    """One request: these bytes of one peer.  They land in order, so what is left is its end."""

    peer: Standing
    start: int
    stop: int
    started: float
    progress_at: float
    landed_bytes: int = 0

    def is_late(self, now: float) -> bool:
        return now >= self.late_at

    @property
    def late_at(self) -> float:
        """When, without another byte, this is asked of somebody else too."""
        return self.progress_at + self.peer.patience
