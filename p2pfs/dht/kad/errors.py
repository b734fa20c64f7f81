"""Why a node was not heard.  These never leave `kad`: a lookup goes on without that node."""

from __future__ import annotations

from p2pfs.errors import P2pfsError


class SilentError(P2pfsError):
    """No answer in time, or none is to be expected."""
