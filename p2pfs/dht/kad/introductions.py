"""Who asks says who it is, so that two strangers know each other after one question.

A node that may be listed sends its key with what it asks.  Where it asks for a proof it brings its
own: the token that it was sent is the nonce of that, so the asked node need not ask back, which
would be two more exchanges, and knows a token besides, should it ask later.  How such a proof is
made and checked is in `proof`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from p2pfs.dht.kad.proof import Prover, introduced
from p2pfs.dht.kad.wire import Store
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.proof import Proven
    from p2pfs.dht.kad.tokens import Tokens
    from p2pfs.dht.kad.wire import Request


@dataclass(frozen=True, slots=True)
class Introductions:
    """Of one node.

    `is_listed(to)`: whether the node at an address may list this one; `is_own(named, source)`:
    whether what a source takes for this node's address is known to be that.
    """

    prover: Prover
    tokens: Tokens
    clock: Callable[[], float]
    is_listed: Callable[[Endpoint], bool]
    is_own: Callable[[Endpoint, Endpoint], bool]

    def signed(self, request: Request, token: bytes, to: Endpoint) -> Request:
        """A request as it is sent: with the token of the asked node, and what that shall know."""
        # A store has no room to spare, and a find from here has said who asks.
        if isinstance(request, Store) or not self.is_listed(to):
            return replace(request, token=token)
        if request.nonce is None:
            return replace(request, token=token, sender=self.prover.identity.public_key)
        now = self.clock()
        proof = self.prover.introduce(token, to, now)
        return replace(request, token=token, proof=proof, back=self.tokens.issue(to, now))

    def checked(self, request: Request, source: Endpoint) -> Proven:
        """Who has sent a request with a valid token and a proof; raises MalformedError.

        Somebody else may have been asked with that, who had handed out this node's token as his
        own: nobody is believed who does not name an address that is known to be this node's.
        """
        who = introduced(request, source, self.prover.udp_port, self.prover.network)
        if not self.is_own(who.seen, source):
            raise MalformedError("the introduction may have been made for somebody else")
        return who
