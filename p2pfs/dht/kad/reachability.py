"""Whether strangers reach this node: it is a client, whom nobody lists, until evidence says so.

A client behind a router that lets nobody in would be a dead contact in everybody's table.  What
counts is a datagram from an IP that nothing was sent to lately (a router may let in all of one that
it was): an unsolicited request from afar, or the nonce that a peer was asked to have somebody else
send (a dial-back).  IPv4 and IPv6 are judged apart: behind many a router one is open, and the
other is shared with the provider's other customers.  No I/O; times are monotonic.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.addresses import is_v6
from p2pfs.dht.kad.wire import NONCE_BYTES

if TYPE_CHECKING:
    from random import Random

# docs/wire.md, section 7: rechecked every 30 min; a check takes some seconds, and may fail once.
RECHECK_SECONDS = 1_800.0
_EVIDENCE_SECONDS = 2 * RECHECK_SECONDS
# Two hops with their time-outs; later than that it is somebody else's.
_NONCE_SECONDS = 10.0
_MOST_NONCES = 16


@dataclass(slots=True)
class _Evidence:
    """Of one family of addresses, and until when it counts."""

    heard_until: float = float("-inf")
    https_until: float = float("-inf")


class Reachability:
    """Evidence, and what follows from it; `forced` is the user's own word, None for none."""

    def __init__(self, forced: bool | None, random: Random) -> None:
        self._forced = forced
        self._random = random
        self._nonces: OrderedDict[bytes, float] = OrderedDict()
        self._evidence = {family: _Evidence() for family in (False, True)}  # by `is_v6`

    @property
    def is_forced(self) -> bool:
        """Whether evidence changes nothing."""
        return self._forced is not None

    def is_server(self, now: float, *, near: bool = False, by: str | None = None) -> bool:
        """Whether others should list this node, and store with it; neighbours always reach it.

        `by`: whether those should who reach it as this IP does.
        """
        if self._forced is not None:
            return self._forced
        counted = self._evidence.values() if by is None else (self._evidence[is_v6(by)],)
        return near or any(now < min(each.heard_until, each.https_until) for each in counted)

    def is_heard(self, now: float) -> bool:
        """Whether datagrams of strangers get through, by whatever family of addresses."""
        return any(now < each.heard_until for each in self._evidence.values())

    def expect(self, now: float) -> bytes:
        """A nonce that somebody is to send here, from an IP that nothing was sent to lately."""
        nonce = self._random.randbytes(NONCE_BYTES)
        self._nonces[nonce] = now
        if len(self._nonces) > _MOST_NONCES:
            self._nonces.popitem(last=False)
        return nonce

    def dialed(self, nonce: bytes, by: str, now: float) -> bool:
        """A nonce came from an IP that nothing was sent to lately; whether it is one to count."""
        asked = self._nonces.pop(nonce, float("-inf"))
        counts = now - asked < _NONCE_SECONDS
        if counts:
            self.heard(by, now)
        return counts

    def heard(self, by: str, now: float) -> None:
        """A datagram of a stranger got through."""
        self._evidence[is_v6(by)].heard_until = now + _EVIDENCE_SECONDS

    def blocked(self) -> None:
        """No datagram gets through any more, whoever sends it."""
        for each in self._evidence.values():
            each.heard_until = float("-inf")

    def reached_by_https(self, by: str, now: float) -> None:
        """A peer has just reached the HTTPS port."""
        self._evidence[is_v6(by)].https_until = now + _EVIDENCE_SECONDS
