"""Whether datagrams get through, by what was sent and answered.  Pure: times are handed in.

No answer from one node says nothing of the others; none from anybody says that a firewall may be
in the way.  What is done then is `detour`.
"""

from __future__ import annotations

# The slowest answer that is waited for takes half of that, and somebody else is asked meanwhile.
_NOTICE_SECONDS = 3.0


class Blockade:
    """Of one scope; until a datagram is answered for the first time, it may well be there."""

    def __init__(self) -> None:
        self._silent_since: float | None = float("-inf")
        self.is_certain = False
        """HTTPS was answered, by a node that answers no datagram."""

    def sent(self, now: float) -> None:
        """A datagram left that should be answered."""
        if self._silent_since is None:
            self._silent_since = now

    def answered(self) -> bool:
        """One was answered, by whomever; whether that ends a blockade."""
        ended, self.is_certain = self.is_certain, False
        self._silent_since = None
        return ended

    def is_possible(self, now: float) -> bool:
        """Whether nobody has answered a datagram for so long that HTTPS is worth trying."""
        return self._silent_since is not None and now - self._silent_since >= _NOTICE_SECONDS

    def bypassed(self, now: float) -> bool:
        """HTTPS was answered where a datagram was not; whether that begins a blockade."""
        began = not self.is_certain and self.is_possible(now)
        self.is_certain = self.is_certain or began
        return began
