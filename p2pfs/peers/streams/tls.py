"""TLS 1.3 over TCP for both ends: connecting with a pinned key, and the byte stream.

No HTTP here; which certificates are shown and asked for is in `credentials`.  OpenSSL reads from
and writes to the socket itself, for as long as there is something to read or room to write, so
that the event loop is not entered for each 16 KiB record.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from typing import TYPE_CHECKING

import trio

from p2pfs.identity import public_key_of_certificate
from p2pfs.peers.errors import NotMemberError, PeerUnavailableError, WrongKeyError

if TYPE_CHECKING:
    from p2pfs.addresses import Endpoint

# TCP and TLS are two round trips; a peer that needs longer than this is as good as gone.
_CONNECT_SECONDS = 5
# docs/wire.md, section 8: so long without a byte taken ends a response.
_SEND_STALL_SECONDS = 30
# A TLS record, with its overhead: what OpenSSL may hold of a record that has begun.
_RECORD_BYTES = 17 << 10
# What a connection's first answer is at most, in a fast start.
_FIRST_WINDOW_BYTES = 1 << 20
_RECEIVE_SOME_BYTES = 64 << 10


async def connect_tls(
    endpoint: Endpoint, public_key: bytes | None, context: ssl.SSLContext
) -> tuple[TlsStream, float]:
    """A stream to the owner of the key, who has proven it, and the round trip in seconds.

    Without a key it is whomever the context lets through: a member, in a private network.

    Raises WrongKeyError, NotMemberError or PeerUnavailableError; nothing but the handshake was
    sent then.
    """
    try:
        with trio.fail_after(_CONNECT_SECONDS):
            started = trio.current_time()
            sock = await _connect_tcp(endpoint)
            rtt = trio.current_time() - started
            return await _handshake(sock, public_key, context, endpoint), rtt
    except trio.TooSlowError as error:
        raise PeerUnavailableError(f"{endpoint} does not answer") from error
    except OSError as error:
        raise PeerUnavailableError(f"{endpoint}: {error.strerror or error}") from error
    except trio.BrokenResourceError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise NotMemberError(f"{endpoint} is no member of this private network") from error
        raise PeerUnavailableError(f"{endpoint} does not speak TLS 1.3") from error


class TlsStream:
    """Bytes in both directions; one task may receive and one send at a time.

    Failures are trio's: BrokenResourceError and ClosedResourceError.  The methods are also those
    that hypercorn expects of a `trio.SSLStream`.
    """

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.socket = sock
        self._low_water = 1

    @property
    def transport_stream(self) -> TlsStream:
        """What has the socket: hypercorn asks for addresses there."""
        return self

    def selected_alpn_protocol(self) -> str | None:
        """The application protocol that both ends agreed on."""
        return self.socket.selected_alpn_protocol()

    def peer_certificate(self) -> bytes | None:
        """The other end's leaf certificate in DER, once the handshake is done."""
        return self.socket.getpeercert(binary_form=True)

    def peer_key(self) -> bytes | None:
        """The key that the certificate is of, which the handshake has proven; None: not Ed25519."""
        certificate = self.peer_certificate()
        try:
            return None if certificate is None else public_key_of_certificate(certificate)
        except ValueError:
            return None

    async def do_handshake(self) -> None:
        while True:
            try:
                self.socket.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self.socket)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self.socket)
            except (OSError, ValueError) as error:  # ValueError: closed meanwhile
                raise trio.BrokenResourceError(str(error)) from error
            else:
                return

    async def receive_into(self, view: memoryview, worth_waking: int = 1) -> int:
        """Fill `view` with what has arrived, at least a byte; 0 means that no more will come.

        `worth_waking`: how many bytes that surely come should be there before the kernel wakes us.
        """
        await trio.lowlevel.checkpoint()
        while True:
            count = self._drain(view)
            if count is not None:
                return count
            self._set_low_water(max(1, worth_waking - _RECORD_BYTES))
            await trio.lowlevel.wait_readable(self.socket)

    async def receive_some(self, max_bytes: int = _RECEIVE_SOME_BYTES) -> bytes:
        """What has arrived, at most so much; empty at the end."""
        buffer = bytearray(max_bytes)
        count = await self.receive_into(memoryview(buffer))
        return bytes(buffer[:count])

    async def send_all(self, data: bytes | memoryview) -> None:
        """Hand everything to the kernel; a peer that takes nothing for long breaks the stream."""
        await trio.lowlevel.checkpoint()
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except ssl.SSLWantWriteError:
                await self._wait_writable()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self.socket)
            except (OSError, ValueError) as error:
                raise trio.BrokenResourceError(str(error)) from error

    def has_arrived(self) -> bool:
        """Whether there is something to read: bytes, an end or an error."""
        if self.socket.fileno() < 0 or self.socket.pending():
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Let go of the socket; whoever waits for it gets ClosedResourceError."""
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    async def aclose(self) -> None:
        """`close`, as trio spells it."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _drain(self, view: memoryview) -> int | None:
        """How much was there, 0 at the end; None if there is nothing yet."""
        filled = 0
        try:
            while filled < len(view):
                count = self.socket.recv_into(view[filled:])
                if count == 0:
                    return filled
                filled += count
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return filled or None
        except (OSError, ValueError) as error:
            if not filled:  # otherwise it comes again
                raise trio.BrokenResourceError(str(error)) from error
        return filled

    def _set_low_water(self, count: int) -> None:
        if count != self._low_water:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._low_water = count

    async def _wait_writable(self) -> None:
        with trio.move_on_after(_SEND_STALL_SECONDS) as stall:
            await trio.lowlevel.wait_writable(self.socket)
        if stall.cancelled_caught:
            raise trio.BrokenResourceError("the peer takes nothing any more")


async def _connect_tcp(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.ip else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _widen_window(sock)
        code = sock.connect_ex((endpoint.ip, endpoint.port))
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))  # noqa: TRY301 closed below like the rest
    except BaseException:
        sock.close()
        raise
    return sock


def _widen_window(sock: socket.socket) -> None:
    """Let the peer send at its congestion window's pace from the start.

    Linux opens the receive window a round trip later than that; asking for a high low-water mark
    raises it at once, and unlike SO_RCVBUF leaves it growing.  At 50 ms it saves 25 of 410 ms
    until the first chunk of a file is there.
    """
    for low_water in (_FIRST_WINDOW_BYTES, 1):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low_water)


async def _handshake(
    sock: socket.socket, public_key: bytes | None, context: ssl.SSLContext, endpoint: Endpoint
) -> TlsStream:
    try:
        stream = TlsStream(context.wrap_socket(sock, do_handshake_on_connect=False))
    except BaseException:
        sock.close()
        raise
    try:
        await stream.do_handshake()
        if public_key is not None:
            _check_key(public_key, stream, endpoint)
    except BaseException:
        stream.close()
        raise
    return stream


def _check_key(public_key: bytes, stream: TlsStream, endpoint: Endpoint) -> None:
    if stream.peer_key() != public_key:
        raise WrongKeyError(f"{endpoint} has another key than was announced")
