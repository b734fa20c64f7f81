"""Dial-backs by HTTPS, `/p2pfs/v1/dialback`: whether this node reaches whoever asks at his own IP.

The overlay uses the answer; the same by datagrams is `dht.kad.dialbacks`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from p2pfs.addresses import Endpoint, client_group, endpoint
from p2pfs.errors import MalformedError, P2pfsError
from p2pfs.network import PUBLIC_KEY_BYTES
from p2pfs.peers.answers import Answer, read_body, whole
from p2pfs.peers.limits import Rate
from p2pfs.peers.trustless import RefusedError

if TYPE_CHECKING:
    from p2pfs.peers.asked import Asked

Probe = Callable[[bytes, Endpoint], Awaitable[None]]
"""Reach the node with that public key at an address; raises one of `peers.errors`."""

DIALBACK_PATH = "/p2pfs/v1/dialback"
REACHED, NOT_REACHED = b"1", b"0"
_PORT_BYTES = 2
_BODY_BYTES = _PORT_BYTES + PUBLIC_KEY_BYTES
# docs/wire.md, section 8: one in 10 s a target, so that this is no weapon.
_DIALS_A_SECOND = 0.1
_MOST_AT_ONCE = 16
# A router that lets nobody in answers nothing: no reason to keep the asker waiting.
_PROBE_SECONDS = 4


class Dialbacks:
    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._rate = Rate(_DIALS_A_SECOND, at_once=1)
        self._probes = trio.CapacityLimiter(_MOST_AT_ONCE)

    async def answer(self, asked: Asked) -> Answer:
        """`1` if the asker's key is at the port he names, at his own IP; else `0`."""
        asked.need_method("POST")
        body = await read_body(asked.receive, _BODY_BYTES)
        if len(body) != _BODY_BYTES:
            raise MalformedError("a dial-back is asked for with a port and a public key")
        target = endpoint(asked.ip, int.from_bytes(body[:_PORT_BYTES], "big"))
        if not self._rate.take(client_group(asked.ip), trio.current_time()):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "one dial-back in ten seconds")
        reached = await self._reaches(body[_PORT_BYTES:], target)
        return whole(HTTPStatus.OK, REACHED if reached else NOT_REACHED)

    async def _reaches(self, public_key: bytes, target: Endpoint) -> bool:
        with trio.move_on_after(_PROBE_SECONDS):
            async with self._probes:
                try:
                    await self._probe(public_key, target)
                except P2pfsError:
                    return False
                return True
        return False


def dialback_request(port: int, public_key: bytes) -> bytes:
    """The body that asks for one."""
    return port.to_bytes(_PORT_BYTES, "big") + public_key
