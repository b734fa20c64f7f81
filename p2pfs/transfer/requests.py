"""The requests of one download: each is made, and noted in its peer's standing is how it went.

Which there are is decided in `plan`; how the bytes get into the object is for `intake`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pfs.errors import P2pfsError
from p2pfs.peers.errors import PeerSilentError, PeerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.peers.client import Client
    from p2pfs.store.object import Object
    from p2pfs.transfer.holdings import Holdings
    from p2pfs.transfer.intake import Intake
    from p2pfs.transfer.run import Run
    from p2pfs.transfer.tasks import Tasks


class Requests:
    """Any number at once, run among `tasks`."""

    def __init__(
        self, held: Object, holdings: Holdings, client: Client, intake: Intake, tasks: Tasks
    ) -> None:
        self._object = held
        self._holdings = holdings
        self._client = client
        self._intake = intake
        self._tasks = tasks

    async def fetch(self, run: Run, arrived: Callable[[int, int], None]) -> None:
        """Bring the bytes of a run; `arrived` is told of each range of them that is there.

        A failure is kept in the peer's standing; raised is only what is not the peer's.
        """
        error: P2pfsError | None = None
        try:
            what = self._object.cid, self._object.size, run.start, run.stop
            fetch = partial(self._client.fetch_range, run.peer.provider, *what)
            is_brought = await self._intake.bring(run, fetch, partial(_landed, run, arrived))
            if is_brought and self._holdings.missing(run.start, run.stop):
                error = PeerUnavailableError("sent less than was asked")
        except trio.Cancelled:
            if not (run.landed_bytes or self._tasks.is_closed):
                error = PeerSilentError("sent nothing while others did")
            raise
        except P2pfsError as failure:
            error = failure
        finally:
            is_peers = self._note_end(run, error)
        if error is not None and not is_peers:
            raise error

    def _note_end(self, run: Run, error: P2pfsError | None) -> bool:
        """Whether the peer can be at fault."""
        peer, now = run.peer, trio.current_time()
        if error is not None:
            return peer.erred(error, now)
        if not self._holdings.missing(run.start, run.stop):
            rtt = self._client.stats(peer.key).rtt
            peer.completed(run.stop - run.start, now - run.started, rtt)
        return True


def _landed(run: Run, arrived: Callable[[int, int], None], start: int, stop: int) -> None:
    """Bytes of a run are in the object, and right."""
    now = trio.current_time()
    if not run.landed_bytes:
        run.peer.answered(now - run.started)
    run.progress_at = now
    run.landed_bytes += stop - start
    run.peer.landed(stop - start)
    arrived(start, stop)
