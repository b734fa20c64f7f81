"""The ASGI application that other nodes and IPFS clients talk to: who answers which request.

What there is to answer is in `contents`, `pages` and `routing`; connections are accepted, and
counted, in `streams.http`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from p2pfs.addresses import client_group
from p2pfs.dht.overlay import Provider
from p2pfs.errors import MalformedError, NotFoundError, P2pfsError
from p2pfs.peers.answers import Answer, refusal, respond, send_answer
from p2pfs.peers.asked import asked_of
from p2pfs.peers.contents import CONTENT_PATH, HAVE_PATH, NODES_PATH, Contents
from p2pfs.peers.dialbacks import DIALBACK_PATH, Dialbacks
from p2pfs.peers.limits import InFlight
from p2pfs.peers.pages import MISSING_PATH, NAMED_PATH, NAMES_PATH, RECORDS_PATH, Pages
from p2pfs.peers.routing import ROUTING_PATH, Routing, stored_providers
from p2pfs.peers.rpc import OBSERVED_PATH, RPC_PATH, Rpc, observed
from p2pfs.peers.trustless import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from p2pfs.addresses import Neighbourhood
    from p2pfs.dht.kad.overlay import KadOverlay
    from p2pfs.dht.recordstore import RecordStore
    from p2pfs.network import Network
    from p2pfs.peers.answers import Message, Receive, Send
    from p2pfs.peers.asked import Answering, Asked
    from p2pfs.peers.dialbacks import Probe
    from p2pfs.peers.pacing import Link
    from p2pfs.store.blocks import Blocks

# docs/wire.md, section 8.
_MAX_IN_FLIGHT = 64
_RESPONSE_SECONDS = 3_600

_log = logging.getLogger(__name__)


def build_gateway(
    blocks: Blocks,
    records: RecordStore,
    kad: KadOverlay,
    network: Network,
    near: Neighbourhood,
    uplink: Link | None,
    probe: Probe,
) -> Gateway:
    """The gateway of the node that has this key."""
    routing = Routing(
        blocks,
        partial(stored_providers, records, network, kad.clock),
        lambda: Provider(kad.public_key, kad.own_addresses()),
        kad.providers,
        near,
    )
    pages = Pages(records, kad.accept, near.is_near, kad.clock)
    answering = {
        RECORDS_PATH: pages.answer,
        NAMES_PATH: pages.names,
        NAMED_PATH: pages.named,
        MISSING_PATH: pages.missing,
        ROUTING_PATH: routing.answer,
        DIALBACK_PATH: Dialbacks(probe).answer,
        RPC_PATH: Rpc(kad.answer).answer,
        OBSERVED_PATH: observed,
    }
    return Gateway(Contents(blocks), answering, near.is_near, uplink)


class Gateway:
    def __init__(
        self,
        contents: Contents,
        others: Mapping[str, Answering],
        is_near: Callable[[str], bool],
        uplink: Link | None = None,
    ) -> None:
        """`others`: who answers what is no content; `is_near`: whose requests are not counted.

        A path that ends in a slash stands for all below it.
        """
        self._contents = contents
        self._paths: dict[str, Answering] = {
            CONTENT_PATH: contents.content,
            HAVE_PATH: contents.have,
            NODES_PATH: contents.nodes,
            **others,
        }
        self._is_near = is_near
        self._uplink = uplink
        self._in_flight = InFlight(_MAX_IN_FLIGHT)

    @property
    def served_bytes(self) -> int:
        """Of blocks, since the start."""
        return self._contents.served_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, in the ASGI's terms."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        asked = asked_of(scope, receive)
        group = None if self._is_near(asked.ip) else client_group(asked.ip)
        if group is not None and not self._in_flight.enter(group):
            refused = refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many at once")
            await send_answer(refused, asked.method, send)
            return
        try:
            with trio.move_on_after(_RESPONSE_SECONDS):
                await self._respond(asked, send)
        finally:
            if group is not None:
                self._in_flight.leave(group)

    async def _respond(self, asked: Asked, send: Send) -> None:
        answer = await self._answer(asked)
        if self._uplink is not None:
            pieces = self._uplink.paced(client_group(asked.ip), answer.pieces)
            answer = replace(answer, pieces=pieces)
        try:
            await respond(answer, asked.method, asked.receive, send)
        except NotFoundError as error:
            refused = refusal(HTTPStatus.NOT_FOUND, str(error))
            await respond(refused, asked.method, asked.receive, send)

    async def _answer(self, asked: Asked) -> Answer:
        try:
            return await self._answering(asked.path)(asked)
        except RefusedError as error:
            return refusal(error.status, str(error))
        except NotFoundError as error:
            return refusal(HTTPStatus.NOT_FOUND, str(error))
        except MalformedError as error:
            return refusal(HTTPStatus.BAD_REQUEST, str(error))
        except P2pfsError as error:
            _log.warning("%s could not be answered: %s", asked.path, error)
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "this node has a problem of its own")

    def _answering(self, path: str) -> Answering:
        for known, answering in self._paths.items():
            if path == known or (known.endswith("/") and path.startswith(known)):
                return answering
        raise NotFoundError("there is nothing here")
