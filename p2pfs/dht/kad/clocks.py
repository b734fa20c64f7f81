"""What other nodes' clocks say, by the times in their proofs.

Whether a difference matters is for `doctor`.
"""

from __future__ import annotations

from statistics import median

# As many as a lookup meets: a few liars among them do not move the median.
_NODES = 64


class Clocks:
    """The last word of each of the nodes heard last."""

    def __init__(self) -> None:
        self._ahead: dict[bytes, float] = {}

    def saw(self, public_key: bytes, theirs: float, ours: float) -> None:
        """A node has just signed its time, in UNIX seconds."""
        self._ahead.pop(public_key, None)
        self._ahead[public_key] = theirs - ours
        if len(self._ahead) > _NODES:
            del self._ahead[next(iter(self._ahead))]

    def ahead(self) -> float | None:
        """By how many seconds the others are ahead, in the middle; None without any; any thread."""
        known = list(self._ahead.values())
        return median(known) if known else None
