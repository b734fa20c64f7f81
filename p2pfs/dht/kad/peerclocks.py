"""What time it is by the proofs of peers: how far off this node's clock is from most of theirs.

Pure.  What follows from a difference is decided in `peers.clock`.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from p2pfs.addresses import prefix_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Endpoint

# A voice a /16 (v6: /32), nearby an address: one network, or two, may well be wrong itself.
_FEWEST_VOICES = 3
_MOST_VOICES = 64


class PeerClocks:
    """The last differences that peers of distinct networks showed."""

    def __init__(self, is_near: Callable[[str], bool]) -> None:
        self._is_near = is_near
        self._voices: dict[str, float] = {}

    def says(self, speaker: Endpoint, difference: float) -> None:
        """A proven peer's clock shows so many seconds more than this node's."""
        group = speaker.ip if self._is_near(speaker.ip) else prefix_group(speaker.ip)[0]
        self._voices.pop(group, None)
        self._voices[group] = difference
        if len(self._voices) > _MOST_VOICES:
            del self._voices[next(iter(self._voices))]

    def difference(self) -> float:
        """The median, in seconds; 0 while too few have spoken."""
        if len(self._voices) < _FEWEST_VOICES:
            return 0.0
        return statistics.median_low(self._voices.values())

    def forget(self) -> None:
        """The own clock was set: what was said before is about another one."""
        self._voices.clear()
