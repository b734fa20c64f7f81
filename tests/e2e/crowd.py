"""A few whole nodes without mounts in one process: `python -m tests.e2e.crowd PEER HOME…`.

Each has a home, a port, a key and a share folder of its own; forty processes would take a while to
start on two cores, and forty nodes of one process wait for its one interpreter.  Ends when its
standard input does.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from p2pfs import node
from p2pfs.addresses import parse_host_port
from p2pfs.peers.reach import listen
from p2pfs.settings import Chosen, Settings, places
from tools.testbed import NETWORK

if TYPE_CHECKING:
    from collections.abc import Sequence


async def run(peer: str, homes: Sequence[Path]) -> None:
    with ExitStack() as listening:
        async with trio.open_nursery() as nursery:
            for home in homes:
                settings = Settings(
                    places({"P2PFS_HOME": str(home)}),
                    home / "share",
                    listen=(parse_host_port("127.0.0.1:0"),),
                    peers=(peer,),
                    network=NETWORK,
                )
                home.mkdir(parents=True, exist_ok=True)
                bound = listening.enter_context(closing(listen(settings.listen, next_free=False)))
                usable = trio.Event()

                def ready(_address: str, usable: trio.Event = usable) -> None:
                    usable.set()

                nursery.start_soon(node._serve, Chosen(settings, {}), bound, None, ready)
                await usable.wait()
            await trio.to_thread.run_sync(os.read, 0, 1, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(run, sys.argv[1], [Path(home) for home in sys.argv[2:]])
