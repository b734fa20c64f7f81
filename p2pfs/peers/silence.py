"""Why nobody answers in a private network, and what time it is there.

Datagrams of a node with another secret, or with a clock that is off, get no answer at all.  HTTPS
tells the cases apart: a member shows its certificate, and its `Date`.
"""

from __future__ import annotations

import io
from contextlib import closing
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException, parse_headers
from typing import TYPE_CHECKING

import trio

from p2pfs.peers.errors import NotMemberError, PeerUnavailableError
from p2pfs.peers.streams.credentials import client_context
from p2pfs.peers.streams.tls import connect_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.overlay import KadOverlay
    from p2pfs.network import MemberKeys
    from p2pfs.peers.clock import NetworkClock
    from p2pfs.peers.streams.tls import TlsStream

    FetchDate = Callable[[Endpoint], Awaitable[float]]

# Whoever is there has answered by then; whoever is not is asked again as often as by datagram.
_FIRST_SECONDS = 3.0
_AGAIN_SECONDS = 30.0
# One that answers is enough, and each that does not may take 5 s.
_MOST_ASKED = 6
_ANSWER_SECONDS = 5.0
_MAX_HEAD_BYTES = 4 << 10
_HEAD_END = b"\r\n\r\n"
_PROBE = b"GET /ipfs/bafkqaaa?format=raw HTTP/1.1\r\nHost: p2pfs\r\nConnection: close\r\n\r\n"


class Silence:
    """Finds out why no member answers, while none does; `problem` is for a person, or empty."""

    def __init__(
        self,
        clock: NetworkClock,
        is_alone: Callable[[], bool],
        known: Callable[[], Sequence[Endpoint]],
        fetch_date: FetchDate,
    ) -> None:
        """`known`: where members were, or should be, by what the user says."""
        self.problem = ""
        self._clock = clock
        self._is_alone = is_alone
        self._known = known
        self._fetch_date = fetch_date

    async def run(self) -> None:
        """Until cancelled."""
        pause = _FIRST_SECONDS
        while True:
            await trio.sleep(pause)
            pause = _AGAIN_SECONDS
            self.problem = await self._look() if self._is_alone() else ""

    async def _look(self) -> str:
        """What is wrong, as far as those say that can be reached."""
        found = ""
        for address in self._known()[:_MOST_ASKED]:
            try:
                is_set = self._clock.set(await self._fetch_date(address))
            except NotMemberError:
                found = f"{address} is of another network: its name or its secret differs"
            except PeerUnavailableError:
                continue
            else:
                blocked = f"{address} answers by TCP and not by UDP: a firewall may be in the way"
                return "" if is_set else blocked
        return found


def build_silence(members: MemberKeys, clock: NetworkClock, kad: KadOverlay) -> Silence:
    """Of a node in a private network."""

    def is_alone() -> bool:
        return not any(contact.answers for contact in kad.contacts())

    context = client_context(members)
    return Silence(clock, is_alone, kad.known, partial(fetch_date, context=context))


async def fetch_date(address: Endpoint, context: ssl.SSLContext) -> float:
    """The time at a member, in UNIX seconds; the context has to let none but members through.

    Raises NotMemberError or PeerUnavailableError.
    """
    stream, _ = await connect_tls(address, None, context)
    try:
        with closing(stream), trio.fail_after(_ANSWER_SECONDS):
            await stream.send_all(_PROBE)
            return _date_of(await _head(stream))
    except (trio.TooSlowError, trio.BrokenResourceError) as error:
        raise PeerUnavailableError(f"{address} does not answer") from error
    except (ValueError, TypeError, OverflowError, HTTPException) as error:
        raise PeerUnavailableError(f"{address} does not say what time it is") from error


async def _head(stream: TlsStream) -> bytes:
    """Of an answer, without its first line; raises ValueError if it has no end."""
    head = b""
    while _HEAD_END not in head:
        piece = await stream.receive_some(_MAX_HEAD_BYTES)
        head += piece
        if not piece or len(head) > _MAX_HEAD_BYTES:
            raise ValueError("no answer")
    return head.partition(b"\r\n")[2]


def _date_of(head: bytes) -> float:
    """Raises ValueError, TypeError, OverflowError or HTTPException."""
    date = parsedate_to_datetime(str(parse_headers(io.BytesIO(head))["Date"])).timestamp()
    if date < 0:  # no datagram could be sealed with it
        raise ValueError("before 1970")
    return date
