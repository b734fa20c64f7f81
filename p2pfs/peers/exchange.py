"""HTTP/1.1 with one peer over one connection: a request, the head of its answer, its body.

Heads go through h11; a body, whose exact length the head must name, goes from the stream into
the caller's memory without passing through it, which is worth half of the client's CPU time.
What the answer means is for `client`; which connection to use, for `pool`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import h11
import trio

from p2pfs.peers.errors import PeerSilentError, PeerUnavailableError

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from p2pfs.peers.streams.tls import TlsStream

# PROTOCOLS section 4; our gateway sends 400 bytes.
_MAX_HEAD_BYTES = 16 << 10
# 100, 103 and the like mean nothing here; endless ones would be a way to never answer.
_MAX_INFORMATIONAL = 4
# The client's side of PROTOCOLS section 4: a peer is given up after so long without a byte ...
_SILENCE_SECONDS = 5
# ... or with less than this in that time, which is 13 KB/s: a 256 KiB chunk in 20 s.
_LEAST_BYTES_A_WINDOW = 64 << 10
# Whoever asks for more patience is asked again all the same: limits are by the second.
_LONGEST_RETRY_SECONDS = 60
# Waking for each 16 KiB record would cost more than decrypting it.
_WORTH_WAKING_BYTES = _LEAST_BYTES_A_WINDOW


class StaleConnectionError(PeerUnavailableError):
    """The connection had been closed before the request arrived, so asking again is safe."""


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is the path with its query."""

    method: str
    target: str
    accept: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer; a `length` of None means that the body cannot be used."""

    status: int
    length: int | None
    retry_after: float
    keeps_connection: bool


class Connection:
    """To one peer, whose key is proven; one exchange at a time."""

    def __init__(self, stream: TlsStream, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._stream = stream
        self._scratch = bytearray(_MAX_HEAD_BYTES)
        self._is_used = False
        self.idle_since = 0.0
        """When it was last put aside, on trio's clock."""

    @property
    def is_fresh(self) -> bool:
        """Whether it can be used again: nothing lies unread, and the peer has not closed it."""
        return not self._stream.has_arrived()

    async def ask(self, request: Request) -> tuple[Head, Body]:
        """Send a request and wait for the beginning of its answer; raises PeerUnavailableError."""
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        try:
            await self._stream.send_all(_encode(protocol, request, self.endpoint))
            with trio.fail_after(_SILENCE_SECONDS):
                response = await self._receive_response(protocol)
        except trio.TooSlowError as error:
            raise PeerSilentError(f"{self.endpoint} does not answer a request") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if self._is_used and not protocol.trailing_data[0]:
                raise StaleConnectionError(f"{self.endpoint} has closed the connection") from error
            raise PeerUnavailableError(f"{self.endpoint} broke off: {error}") from error
        except h11.RemoteProtocolError as error:
            raise PeerUnavailableError(f"{self.endpoint} does not speak HTTP: {error}") from error
        self._is_used = True
        head = _head_of(response, self.endpoint)
        if head.length is None:
            return head, Body(self._stream, self.endpoint, 0, b"")
        beginning, _ = protocol.trailing_data
        if len(beginning) > head.length:
            raise PeerUnavailableError(f"{self.endpoint} sent more than it had declared")
        return head, Body(self._stream, self.endpoint, head.length, beginning)

    async def _receive_response(self, protocol: h11.Connection) -> h11.Response:
        """The final response; what is left of the last bytes is the body's beginning."""
        informational = 0
        while True:
            event = protocol.next_event()
            if isinstance(event, h11.Response):
                return event
            if event is h11.NEED_DATA:
                count = await self._stream.receive_into(memoryview(self._scratch))
                if count == 0:
                    raise trio.BrokenResourceError("closed before an answer")
                protocol.receive_data(bytes(self._scratch[:count]))
                continue
            informational += 1
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("an answer without a beginning")
            if informational > _MAX_INFORMATIONAL:
                raise h11.RemoteProtocolError("no end of informational responses")

    def close(self) -> None:
        self._stream.close()


class Body:
    """The `remaining` bytes of an answer; the connection can be used again once there are none."""

    def __init__(
        self, stream: TlsStream, endpoint: Endpoint, length: int, beginning: bytes
    ) -> None:
        self.remaining = length
        self._stream = stream
        self._endpoint = endpoint
        self._beginning = memoryview(beginning)
        self._quiet_seconds = 0.0  # waited for since the last byte
        self._window_seconds = 0.0
        self._window_bytes = 0

    async def receive_into(self, view: memoryview, until: float = inf) -> int:
        """Put what has come into `view`; 0 if nothing has by `until` on trio's clock.

        Only while some remains.  Raises PeerUnavailableError, as PeerSilentError for a peer that
        is slower than the minimum: time in which nobody waits here is not held against it.
        """
        view = view[: self.remaining]
        if self._beginning:
            count = min(len(view), len(self._beginning))
            view[:count] = self._beginning[:count]
            self._beginning = self._beginning[count:]
        else:
            count = await self._receive(view, until)
        self.remaining -= count
        return count

    async def read(self) -> bytes:
        """All that remains; whoever calls has looked at how much that is."""
        whole = bytearray(self.remaining)
        view = memoryview(whole)
        while self.remaining:
            view = view[await self.receive_into(view) :]
        return bytes(whole)

    async def _receive(self, view: memoryview, until: float) -> int:
        started = trio.current_time()
        count = 0
        with trio.move_on_at(min(until, started + _SILENCE_SECONDS - self._quiet_seconds)):
            count = await self._stream_receive(view)
        self._judge(count, trio.current_time() - started)
        return count

    def _judge(self, count: int, waited: float) -> None:
        """Raise PeerSilentError if so many bytes after so long a wait are too few at last."""
        self._quiet_seconds = 0.0 if count else self._quiet_seconds + waited
        self._window_seconds += waited
        self._window_bytes += count
        is_slow = False
        if self._window_seconds >= _SILENCE_SECONDS:
            is_slow = self._window_bytes < min(_LEAST_BYTES_A_WINDOW, self.remaining)
            self._window_seconds, self._window_bytes = 0.0, 0
        if is_slow or self._quiet_seconds >= _SILENCE_SECONDS:
            raise PeerSilentError(f"{self._endpoint} sends too slowly, or nothing any more")

    async def _stream_receive(self, view: memoryview) -> int:
        worth_waking = min(self.remaining, len(view), _WORTH_WAKING_BYTES)
        try:
            count = await self._stream.receive_into(view, worth_waking)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerUnavailableError(f"{self._endpoint} broke off: {error}") from error
        if count == 0:
            raise PeerUnavailableError(f"{self._endpoint} broke off {self.remaining} bytes early")
        return count


def _encode(protocol: h11.Connection, request: Request, endpoint: Endpoint) -> bytes:
    headers = [
        ("Host", str(endpoint)),
        ("Accept", request.accept),
        ("Accept-Encoding", "identity"),
    ]
    if request.method == "POST":
        headers.append(("Content-Length", str(len(request.body))))
    head = protocol.send(h11.Request(method=request.method, target=request.target, headers=headers))
    protocol.send(h11.Data(data=request.body))
    protocol.send(h11.EndOfMessage())
    return head + request.body


def _head_of(response: h11.Response, endpoint: Endpoint) -> Head:
    headers = dict(response.headers)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity":
        raise PeerUnavailableError(f"{endpoint} encodes content, which was not asked for")
    length = headers.get(b"content-length")
    is_framed = length is not None and b"transfer-encoding" not in headers
    closes = b"close" in headers.get(b"connection", b"").lower()
    return Head(
        status=response.status_code,
        length=int(length) if is_framed and length is not None else None,
        retry_after=_seconds(headers.get(b"retry-after", b"")),
        keeps_connection=is_framed and not closes and response.http_version >= b"1.1",
    )


def _seconds(value: bytes) -> float:
    """A Retry-After, within reason."""
    is_number = value.isdigit() and len(value) <= len(str(_LONGEST_RETRY_SECONDS))
    return min(float(value), _LONGEST_RETRY_SECONDS) if is_number else 1.0
