"""Address tokens: what a source must show before it gets more than it sent.

Pure but for the secret it is given.  A token says that its bearer received a datagram at that
IP and port within the last ten minutes, and nothing about who it is.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from p2pfs.dht.kad.referrals import pack_address
from p2pfs.dht.kad.wire import TOKEN_BYTES

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint

# A token lives through its own epoch and the next, so it is good for 5 to 10 minutes.
EPOCH_SECONDS = 300
# An asker lets a token go before the epoch after next can begin.
TOKEN_LIFE_SECONDS = EPOCH_SECONDS - 30


class Tokens:
    """Issues tokens and knows its own again; nothing is kept for an address."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self, to: Endpoint, now: float) -> bytes:
        """The token of the current epoch for an address."""
        return self._token(to, _epoch(now))

    def check(self, token: bytes | None, source: Endpoint, now: float) -> tuple[bytes, bool]:
        """An address's token of this epoch, and whether it showed that one or the last epoch's."""
        epoch = _epoch(now)
        fresh = self._token(source, epoch)
        if token is None:
            return fresh, False
        if hmac.compare_digest(token, fresh):  # nearly always, and another would cost as much
            return fresh, True
        return fresh, hmac.compare_digest(token, self._token(source, epoch - 1))

    def _token(self, address: Endpoint, epoch: int) -> bytes:
        message = pack_address(address) + epoch.to_bytes(8, "big")
        return hmac.digest(self._secret, message, "sha256")[:TOKEN_BYTES]


def _epoch(now: float) -> int:
    return int(now // EPOCH_SECONDS)
