"""How far each file is on its way into the catalogue, and why it is not further; in memory."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from p2pfs.errors import P2pfsError
from p2pfs.store.share import ShareState

if TYPE_CHECKING:
    from p2pfs.library.hints import Hints

Standing = tuple[ShareState, str]

_log = logging.getLogger(__name__)


class Progress:
    """Of a file that is nowhere here its row says how far it is."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._standings: dict[bytes, Standing] = {}

    def of(self, path: bytes) -> Standing | None:
        """None if its row says it, or should."""
        if path in self._standings:
            return self._standings[path]
        if self._hints.is_disturbed(path):
            return ShareState.WAITING, "until it has been still"
        return None

    def waits(self, path: bytes, reason: str) -> None:
        self._standings[path] = ShareState.WAITING, reason

    def fails(self, path: bytes, reason: str) -> None:
        self._standings[path] = ShareState.FAILED, reason

    def fails_by(self, path: bytes, error: Exception) -> None:
        """Whatever it was; with a mistake in p2pfs itself the log has more."""
        mistake = None if isinstance(error, P2pfsError) else error
        _log.warning("%r cannot be published: %s", path, error, exc_info=mistake)
        self.fails(path, str(error))

    def begins(self, path: bytes) -> None:
        """It is being hashed."""
        self._standings[path] = ShareState.HASHING, ""

    def ends(self, path: bytes) -> None:
        """It is not any more; with nothing else said, because it changed."""
        if self._standings.get(path) == (ShareState.HASHING, ""):
            self.waits(path, "it changed while it was hashed")

    def is_left_out(self, path: bytes, standing: Standing) -> None:
        self._standings[path] = standing

    def settle(self, path: bytes) -> None:
        """From now on its row says it."""
        self._standings.pop(path, None)
