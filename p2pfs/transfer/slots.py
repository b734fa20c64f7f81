"""How many requests all downloads together may have under way at one peer.

What is requested is decided in `plan`; connections themselves belong to `peers.client`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Slots:
    """Counts requests by public key; of a peer's limit, the last is kept for blocked readers."""

    def __init__(self) -> None:
        self._taken: Counter[bytes] = Counter()
        self._waiting: dict[bytes, dict[Callable[[], None], None]] = {}

    def free(self, peer: bytes, limit: int, *, urgent: bool) -> int:
        """How many more requests may start; those that block nobody leave one slot free."""
        kept = 0 if urgent or limit == 1 else 1
        return max(0, limit - kept - self._taken[peer])

    def take(self, peer: bytes) -> None:
        self._taken[peer] += 1

    def release(self, peer: bytes) -> None:
        """A request has ended: who waits is called in the order of asking, until one takes it."""
        self._taken[peer] -= 1
        left = self._taken[peer]
        if not left:
            del self._taken[peer]
        waiting = self._waiting.get(peer, {})
        for ask_again in list(waiting):  # who asks once more goes to the end
            if self._taken[peer] > left:
                break
            waiting.pop(ask_again, None)
            ask_again()
        if not waiting:
            self._waiting.pop(peer, None)

    def call_when_released(self, peer: bytes, ask_again: Callable[[], None]) -> None:
        """Call once, as soon as a request to this peer ends."""
        self._waiting.setdefault(peer, {})[ask_again] = None

    def forget(self, ask_again: Callable[[], None]) -> None:
        """Whoever was to be called is gone."""
        for peer in [peer for peer, waiting in self._waiting.items() if ask_again in waiting]:
            del self._waiting[peer][ask_again]
            if not self._waiting[peer]:
                del self._waiting[peer]
