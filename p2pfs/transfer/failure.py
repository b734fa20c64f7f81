"""Why a content could not be had, in one error: the kind that helps, and what was tried.

Pure.  Which peers were tried, and how often, is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.errors import (
    IntegrityError,
    MalformedError,
    NoProvidersError,
    P2pfsError,
    UnreachableError,
)
from p2pfs.identity import peer_id
from p2pfs.peers.errors import PeerLacksError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from p2pfs.content.cid import Cid

# Enough to see what is wrong; an extended attribute and a line of status hold it.
_MAX_NAMED = 4


def is_wrong(error: P2pfsError) -> bool:
    """Whether a peer's bytes were at fault: they match no hash, or say what cannot be."""
    return isinstance(error, IntegrityError | MalformedError)


def why_not(
    cid: Cid, failures: Mapping[bytes, P2pfsError], lookup_error: P2pfsError | None
) -> P2pfsError:
    """The error for a reader, out of each peer's last one and that of the search for peers.

    Wrong bytes say most, then peers out of reach; without any peer, why none was found.
    """
    if not failures:
        return lookup_error or NoProvidersError(f"nobody offers {cid}")
    errors = failures.values()
    tried = describe(failures)
    if any(is_wrong(error) for error in errors):
        return IntegrityError(f"only wrong blocks of {cid} were to be had ({tried})")
    if all(isinstance(error, PeerLacksError) for error in errors):
        return NoProvidersError(f"nobody has {cid} any more ({tried})")
    return UnreachableError(f"no provider of {cid} could be reached ({tried})")


def describe(failures: Mapping[bytes, P2pfsError]) -> str:
    """`12D3Koo…: what it did; …` for the first few peers."""
    said = [f"{peer_id(key)}: {Exception.__str__(error)}" for key, error in failures.items()]
    more = [f"and {len(said) - _MAX_NAMED} more"] if len(said) > _MAX_NAMED else []
    return "; ".join(said[:_MAX_NAMED] + more)
