"""How far what is published is on its way to others, told from the state of each of its files.

Nothing here waits, and nothing is decided for the files themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.store.share import SERVED, ShareState

if TYPE_CHECKING:
    from p2pfs.content.cid import Cid
    from p2pfs.library.folders import Folders
    from p2pfs.library.ingest import Ingest
    from p2pfs.store.foldershares import FolderShares

# A folder is ignored for being one, and is looked at as a file is.
_OF_A_FILE = set(ShareState) - {ShareState.IGNORED}
_FRESH = (ShareState.WAITING, "just found")
_ENDED = (ShareState.PUBLISHED, ShareState.FAILED, ShareState.IGNORED)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of which something is published, and who follows it."""

    shares: FolderShares
    ingest: Ingest
    folders: Folders


@dataclass(frozen=True, slots=True)
class Standing:
    """`published` of `files` can be found by others; `cid` is that of the file or the folder."""

    path: bytes
    state: ShareState
    reason: str = ""
    cid: Cid | None = None
    files: int = 0
    published: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether waiting is of no use."""
        return self.state in _ENDED


def file_standing(place: Place, path: bytes) -> Standing:
    """How a file at a path below the folder stands."""
    state, reason = place.ingest.state(path)
    share = place.shares.get(path)
    cid = share.cid if share is not None and state in SERVED else None
    return Standing(path, state, reason, cid, 1, int(state is ShareState.PUBLISHED))


def folder_standing(place: Place, path: bytes) -> Standing:
    """How a folder stands: as its files do, and when all are published, as its content id does."""
    state, reason = place.ingest.state(path)
    if state is ShareState.FAILED:
        return Standing(path, state, reason)
    found = place.shares.states_below(path)
    for below, passing in place.ingest.unfinished().items():
        if below.startswith(path + b"/") and (passing is None or passing[0] in _OF_A_FILE):
            found[below] = passing or found.get(below, _FRESH)
    states = list(found.values())
    published = sum(state is ShareState.PUBLISHED for state, _ in states)
    if place.ingest.scanned.is_set():
        state, reason = _of_files(states, published) or place.folders.state(path)
    else:
        state, reason = ShareState.WAITING, "until it has been looked through"
    return Standing(path, state, reason, place.folders.cid(path), len(states), published)


def _of_files(
    states: list[tuple[ShareState, str]], published: int
) -> tuple[ShareState, str] | None:
    """The state of a file on its way, or else of one that failed, stands for all."""
    coming = [one for one in states if one[0] not in _ENDED]
    failed = [one for one in states if one[0] is ShareState.FAILED]
    for state, reason in (*coming, *failed):
        count = f"{published} of {len(states)} files are published"
        return state, f"{count}; {reason}" if reason else count
    return None
