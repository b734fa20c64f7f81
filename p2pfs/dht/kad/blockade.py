"""Whether datagrams get through, by what was sent and answered.  Pure: times are handed in.

No answer from one node says nothing of the others; none from anybody says that a firewall may be
in the way.  What is done then is `detour`, who is asked to find out `lookout`.
"""

from __future__ import annotations

# The slowest answer that is waited for takes half of that, and somebody else is asked meanwhile.
_NOTICE_SECONDS = 3.0


class Blockade:
    """Of one scope; until a datagram is answered for the first time, it may well be there."""

    def __init__(self) -> None:
        self._silent_since: float | None = float("-inf")
        self.is_likely = True
        """Nobody answers datagrams, as far as is known: HTTPS is worth trying."""
        self.is_certain = False
        """HTTPS was answered, by a node that answers no datagram."""

    def sent(self, now: float) -> None:
        """A datagram left that should be answered."""
        if self._silent_since is None:
            self._silent_since = now

    def answered(self) -> bool:
        """One was answered, by whomever; whether that ends a blockade."""
        ended = self.is_certain
        self._silent_since = None
        self.is_likely = self.is_certain = False
        return ended

    def is_due(self, now: float) -> bool:
        """Whether it is to be found out, since nobody has answered for long."""
        if self._silent_since is None or self.is_likely:
            return False
        return now - self._silent_since >= _NOTICE_SECONDS

    def looked(self) -> None:
        """Nodes that answered once were asked again, and had the time to."""
        self.is_likely = self._silent_since is not None

    def bypassed(self) -> bool:
        """HTTPS was answered where a datagram was not; whether that begins a blockade."""
        began = self.is_likely and not self.is_certain
        self.is_certain = self.is_certain or began
        return began
