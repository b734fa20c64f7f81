"""Which addresses a node's sockets reach, on machines as they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.e2e.test_on_the_wire import inside, two_hosts

# Bound as by default, on a machine whose only network is 10.93.0.0/24.
REACHED = """
import asyncio, socket
from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.sockets import Sockets

async def main():
    families = socket.AF_INET, socket.AF_INET6
    bound = [socket.socket(family, socket.SOCK_DGRAM) for family in families]
    for each in bound:
        each.setblocking(False)
        each.bind(("", 0))
    sockets = Sockets(bound)
    await sockets.open(lambda data, source: None)
    for ip in ("10.93.0.2", "127.0.0.1", "::1", "8.8.8.8", "2a00::1"):
        print(ip, sockets.reaches(Endpoint(ip, 7117)))
    sockets.close()

asyncio.run(main())
"""


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_a_socket_without_a_route_reaches_nobody() -> None:
    with two_hosts() as (here, _there):
        command = inside(here, sys.executable, "-c", REACHED)
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [
        "10.93.0.2 True",
        "127.0.0.1 True",
        "::1 True",
        "8.8.8.8 False",
        "2a00::1 False",
    ]
