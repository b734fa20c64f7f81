"""What a peer can do wrong, in the words that `transfer` decides by.

One exchange fails with exactly one of these; which peer it was is known to the caller.
"""

from __future__ import annotations

from p2pfs.errors import IntegrityError, NoProvidersError, UnreachableError


class PeerUnavailableError(UnreachableError):
    """It cannot be reached, broke off, or answered with something that is not the protocol."""


class WrongKeyError(PeerUnavailableError):
    """Whoever answers there is not the peer that was looked for; no request was sent."""


class NotMemberError(PeerUnavailableError):
    """Whoever answers there does not know this private network's secret, or we do not."""

    advice = "compare name and secret on both: `network`, `network_secret_file`"


class PeerSilentError(PeerUnavailableError):
    """It sends nothing, or less than the minimum speed."""


class PeerBusyError(PeerUnavailableError):
    """It has reached a limit of its own; ask again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PeerLacksError(NoProvidersError):
    """It does not have what was asked for."""


class WrongBlockError(IntegrityError):
    """It sent a block, or an order of blocks, that is not what the content id demands."""
