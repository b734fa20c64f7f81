"""Noticing that this node is elsewhere, or in another time, than what it told others of itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from p2pfs.addresses import Endpoint

_log = logging.getLogger(__name__)

# An address that peers see comes and goes at most with the network we are in.
_LOOK_EVERY_SECONDS = 10.0
# Records end by the clock, agendas go by time awake: apart by more than this, the clock was set,
# or the machine has slept.
_CLOCK_STEP_SECONDS = 60.0


async def watch_surroundings(
    addresses: Callable[[], Sequence[Endpoint]],
    clock: Callable[[], float],
    look_again: Callable[[], None],
) -> None:
    """Call `look_again` when this node's addresses or its clock are others, until cancelled.

    If that raises P2pfsError it is called again.
    """
    before, ahead = tuple(addresses()), clock() - trio.current_time()
    while True:
        await trio.sleep(_LOOK_EVERY_SECONDS)
        now, ahead_now = tuple(addresses()), clock() - trio.current_time()
        if now == before and abs(ahead_now - ahead) < _CLOCK_STEP_SECONDS:
            continue
        try:
            look_again()
        except P2pfsError as error:  # the disk's trouble, and may be over the next time
            _log.warning("what is to be announced cannot be read: %s", error)
        else:
            before, ahead = now, ahead_now
