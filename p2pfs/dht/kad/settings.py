"""What a node of the overlay is told before it starts.  Values only."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2pfs.dht.kad.table import K

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Endpoint, Neighbourhood
    from p2pfs.dht.recordstore import RecordStore
    from p2pfs.identity import Identity
    from p2pfs.network import Network


@dataclass(frozen=True, slots=True)
class Settings:
    """Whoever one node is, where it keeps what, and whom it asks first.

    `clock` is UNIX seconds; `monotonic` the loop's own clock, which no step of the other moves.
    `random` makes secrets and message ids.  Only simulations replace these two, and `k`, which all
    nodes of a network share: at most `MAX_REFERRALS`.  `server` is whether far nodes may list this
    one; None: as evidence says.
    """

    identity: Identity
    network: Network
    neighbourhood: Neighbourhood
    https_port: int
    records: RecordStore
    peers: tuple[Endpoint, ...]
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    random: random.Random = field(default_factory=random.SystemRandom)
    k: int = K
    server: bool | None = True
