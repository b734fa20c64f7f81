"""A contact in the table, and how it has answered.  Values only; times are monotonic seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.dht.kad.caps import Place
    from p2pfs.dht.kad.contacts import Contact

# A contact goes only after so many failures, the last so long after the first: not by one bad
# minute of the network.
_FAILURES_TO_EVICT = 3
_EVICT_AFTER_SECONDS = 120
# Suspects are asked again so long after each failure; the third of these is past the two minutes.
_CHECK_AGAIN_SECONDS = (1, 5, 60, 60)
# An address can change hands: whoever has it proves itself again this often.
_PROOF_LIFE_SECONDS = 600


@dataclass(slots=True, eq=False)
class Entry:
    """`seen`: when it answered last, `proven`: when with a proof."""

    contact: Contact
    place: Place
    bucket: int
    seen: float
    proven: float
    failures: int = 0
    failed: float = -math.inf
    counted: int = 0  # of the failures, those that speak against it
    first_counted: float = 0.0
    check_at: float = 0.0

    def is_trusted(self, now: float) -> bool:
        """Whether another proof would be a waste."""
        return now - self.proven < _PROOF_LIFE_SECONDS

    def answers(self, now: float) -> None:
        """It has answered, so it is alive."""
        self.seen, self.failures, self.counted = now, 0, 0

    def fails(self, now: float, heard: float) -> bool:
        """It did not answer; whether it is to go: three times over two minutes.

        One counts if anybody has answered, at `heard`, since the one before: else it may be this
        node that was cut off, and the first to be heard again must not condemn those whose turn
        comes later.
        """
        if heard > self.failed:
            self.first_counted = self.first_counted if self.counted else now
            self.counted += 1
        self.failed = now
        self.check_at = now + _CHECK_AGAIN_SECONDS[min(self.failures, 3)]
        self.failures += 1
        lasted = now - self.first_counted
        return self.counted >= _FAILURES_TO_EVICT and lasted >= _EVICT_AFTER_SECONDS
