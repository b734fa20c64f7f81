"""The bytes of an HTTP connection to a peer, as httpcore wants them, and how long to wait for them.

No HTTP is spoken here: httpcore does that.  What it leaves open is bounded here: how large the
head of an answer may become, that an answer is as long as was declared, and how slow a peer may be.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpcore
import trio

from p2pfs.peers.errors import PeerSilentError, PeerUnavailableError

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint
    from p2pfs.peers.pacing import Link
    from p2pfs.peers.streams.tls import TlsStream

# docs/wire.md, section 8; our gateway sends 400 bytes.  Informational answers (100, 103) are
# counted in, since endless ones would be a way to never answer.
_MAX_HEAD_BYTES = 16 << 10
# The client's side of docs/wire.md, section 8: a peer is given up after so long without a byte ...
_SILENCE_SECONDS = 5
# ... or with less than this in that time, which is 13 KB/s: a 256 KiB chunk in 20 s.
_LEAST_BYTES_A_WINDOW = 64 << 10
PIECE_BYTES = 256 << 10
"""What httpcore gets at once: it and h11 cost as much for 16 KiB, a TLS record."""
# Waking for each record would cost more than decrypting it ...
_WORTH_WAKING_BYTES = 64 << 10
# ... but while TCP's window still opens, or over a long path, waiting for more stalls the peer.
_WARM_BYTES = 1 << 20
# As h11 has it.
_END_OF_HEAD = re.compile(rb"\n\r?\n")


class StaleConnectionError(PeerUnavailableError):
    """The connection had been closed before the request arrived, so asking again is safe."""


class PeerStream(httpcore.AsyncNetworkStream):
    """A connection to a peer whose key is proven; one exchange after the other.

    httpcore reads one head at a time, whole, and after `expect` the body; never both at once.
    Its time-outs and sizes are not used: the limits are those above.
    """

    def __init__(
        self,
        stream: TlsStream,
        endpoint: Endpoint,
        scratch: memoryview,
        downlink: Link | None = None,
        *,
        is_far: bool,
    ) -> None:
        """`scratch` can be shared: nothing is left in it while another task runs."""
        self.endpoint = endpoint
        self._stream = stream
        self._scratch = scratch
        self._downlink = downlink
        self._piece_bytes = downlink.slice_bytes if downlink else PIECE_BYTES
        self._is_far = is_far
        self._is_used = False
        self._is_in_head = True
        self._head_room = _MAX_HEAD_BYTES
        self._head_until = 0.0  # on trio's clock
        self._remaining = 0  # of the body
        self._ahead = b""  # received, not yet read
        self._received = 0
        self._window_seconds = 0.0  # waited for the body since it was last judged
        self._window_bytes = 0

    @property
    def peer_key(self) -> bytes:
        """The public key of the other end; raises PeerUnavailableError."""
        key = self._stream.peer_key()
        if key is None:
            raise PeerUnavailableError(f"{self.endpoint} has a key of another kind")
        return key

    async def write(self, buffer: bytes, *_: object, **__: object) -> None:
        """Send a piece of a request; an answer may come even after httpcore's WriteError."""
        self._is_in_head = True
        self._head_room = _MAX_HEAD_BYTES
        try:
            if buffer:
                await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from error
        finally:
            self._head_until = trio.current_time() + _SILENCE_SECONDS

    async def read(self, *_: object, **__: object) -> bytes:
        """A whole head, or a piece of the body; raises PeerUnavailableError."""
        return await (self._read_head() if self._is_in_head else self._read_body())

    def expect(self, length: int) -> None:
        """Say that the head is over and has declared a body so long."""
        self._is_used = True
        self._is_in_head = False
        self._window_seconds, self._window_bytes = 0.0, 0
        self._remaining = length
        if len(self._ahead) > length:
            raise PeerUnavailableError(f"{self.endpoint} sent more than it had declared")

    def close(self) -> None:
        """Break off: whatever is read from now on is an error."""
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> bool | None:
        """Only whether an idle connection has become useless: closed, or more than was declared."""
        if info == "is_readable":
            return bool(self._ahead) or self._stream.has_arrived()
        return None

    async def _read_head(self) -> bytes:
        try:
            with trio.fail_at(self._head_until):
                while (end := _END_OF_HEAD.search(self._ahead)) is None:
                    room = self._head_room - len(self._ahead)
                    if not room:
                        raise PeerUnavailableError(f"{self.endpoint} sends a head without end")
                    self._ahead += await self._receive(room)
        except trio.TooSlowError as error:
            raise PeerSilentError(f"{self.endpoint} does not answer a request") from error
        except trio.BrokenResourceError as error:
            if self._is_used and not self._ahead and self._head_room == _MAX_HEAD_BYTES:
                raise StaleConnectionError(f"{self.endpoint} has closed the connection") from error
            raise PeerUnavailableError(f"{self.endpoint} broke off: {error}") from error
        head, self._ahead = self._ahead[: end.end()], self._ahead[end.end() :]
        self._head_room -= len(head)
        return head

    async def _read_body(self) -> bytes:
        piece, self._ahead = self._ahead, b""
        if not piece:
            piece = await self._receive_body()
            if self._downlink is not None:  # while we wait here, TCP holds the peer back
                await self._downlink.take(self.endpoint.ip, len(piece))
        self._remaining -= len(piece)
        return piece

    async def _receive_body(self) -> bytes:
        """Time in which nobody waits here is not held against the peer."""
        is_warm = self._received >= _WARM_BYTES and not self._is_far
        worth_waking = (
            min(self._remaining, self._piece_bytes, _WORTH_WAKING_BYTES) if is_warm else 1
        )
        started = trio.current_time()
        try:
            with trio.fail_after(_SILENCE_SECONDS):
                piece = await self._receive(min(self._remaining, self._piece_bytes), worth_waking)
            self._judge(len(piece), trio.current_time() - started)
        except trio.TooSlowError as error:
            raise PeerSilentError(
                f"{self.endpoint} sends too slowly, or nothing any more"
            ) from error
        except trio.BrokenResourceError as error:
            raise PeerUnavailableError(
                f"{self.endpoint} broke off {self._remaining} bytes early: {error}"
            ) from error
        return piece

    def _judge(self, count: int, waited: float) -> None:
        """Raise TooSlowError if so many bytes after so long a wait are too few at last."""
        self._window_seconds += waited
        self._window_bytes += count
        if self._window_seconds >= _SILENCE_SECONDS:
            if self._window_bytes < min(_LEAST_BYTES_A_WINDOW, self._remaining):
                raise trio.TooSlowError
            self._window_seconds, self._window_bytes = 0.0, 0

    async def _receive(self, most: int, worth_waking: int = 1) -> bytes:
        try:
            view = self._scratch[:most]
            count = await self._stream.receive_into(view, worth_waking)
            piece = bytes(view[:count])
        except trio.ClosedResourceError as error:
            raise trio.BrokenResourceError("closed here") from error
        if not piece:
            raise trio.BrokenResourceError("the connection was closed")
        self._received += len(piece)
        return piece
