"""Saying, by a provider record alone, that this node has a root: a folder, a fetched content.

What goes by a name and under tags is for `announcing`.  Which roots are to be found is the
callers' business; a record of one that is not any more ends by itself.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import trio

from p2pfs.content.metainfo import LIFETIME_SECONDS
from p2pfs.errors import NoPeersError, P2pfsError
from p2pfs.library.announcements import is_live, renewed_at
from p2pfs.library.rounds import NO_PEERS, Rounds
from p2pfs.store.provided import Told
from p2pfs.store.share import ShareState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.addresses import Endpoint
    from p2pfs.content.cid import Cid
    from p2pfs.dht.overlay import Overlay
    from p2pfs.store.provided import Provided

_log = logging.getLogger(__name__)

# Alone, so many a second ask whether there are peers by now, which costs nothing.
_PROBE_SECONDS = 1.0
_RETRY_SECONDS = 60.0
_WAITS = "it waits for its turn"


class Providing:
    """Keeps the records of a set of roots in the network, over restarts."""

    def __init__(
        self,
        overlay: Overlay,
        provided: Provided,
        addresses: Callable[[], Sequence[Endpoint]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._overlay = overlay
        self._provided = provided
        self._addresses = addresses
        self._clock = clock
        self._rounds = Rounds(self._bring_up_to_date, lambda: self._wanted, addresses, clock)
        self._wanted: dict[Cid, str] = {}  # why others do not know of it yet, empty if they do
        self._wanted_by: defaultdict[Cid, set[object]] = defaultdict(set)

    def provide(self, cid: Cid, by: object) -> None:
        """From now on, others are to find it here, as `by` wants; the catalogue must know it."""
        self._wanted_by[cid].add(by)
        if cid not in self._wanted:
            self._wanted[cid] = _WAITS
            self._rounds.look(cid)

    def stop(self, cid: Cid, by: object) -> None:
        """No more, unless somebody else wants it; until its record expires others may come."""
        self._wanted_by[cid].discard(by)
        if not self._wanted_by[cid]:
            del self._wanted_by[cid]
            self._wanted.pop(cid, None)

    def state(self, cid: Cid) -> tuple[ShareState, str]:
        """Whether others can find a root that is provided, and why not."""
        reason = self._wanted.get(cid, _WAITS)
        return (ShareState.ANNOUNCING, reason) if reason else (ShareState.PUBLISHED, "")

    async def run(self) -> None:
        """Announce what is due, until cancelled."""
        await self._rounds.run()

    async def _bring_up_to_date(self, cid: Cid) -> None:
        if cid not in self._wanted:
            return
        try:
            until = await self._announce(cid)
        except NoPeersError:
            self._explain(cid, NO_PEERS)
            await trio.sleep(_PROBE_SECONDS)
            self._rounds.look(cid)  # behind the others
        except Exception as error:  # noqa: BLE001 the edge: one odd root must not end the node
            mistake = None if isinstance(error, P2pfsError) else error
            _log.warning("%s cannot be announced: %s", cid, error, exc_info=mistake)
            self._explain(cid, str(error))
            self._rounds.look_after(cid, _RETRY_SECONDS)
        else:
            self._explain(cid, "")
            self._rounds.look_after(cid, max(1, renewed_at(cid, until) - self._clock()))

    async def _announce(self, cid: Cid) -> int:
        """Until when others know."""
        now, at = int(self._clock()), tuple(map(str, self._addresses()))
        told = self._provided.get(cid)
        if told and told.addresses == at and is_live(told.until, now) and _is_fresh(cid, told, now):
            return told.until
        if not at:
            raise NoPeersError("no address of this node is known yet")
        until = now + LIFETIME_SECONDS
        if not await self._overlay.announce(cid, until):
            raise NoPeersError("no other node has stored its provider record yet")
        await self._provided.put(cid, Told(until, at))
        return until

    def _explain(self, cid: Cid, reason: str) -> None:
        if cid in self._wanted:
            self._wanted[cid] = reason


def _is_fresh(cid: Cid, told: Told, now: int) -> bool:
    return now < renewed_at(cid, told.until)
