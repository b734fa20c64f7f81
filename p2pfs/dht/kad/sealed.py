"""Messages that only members of a private network can read or make, and a transport of such.

nonce (12) | AES-256-GCM-SIV (RFC 8452) of time (8) | message, its tag (16) included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from p2pfs.dht.kad.wire import MAX_DATAGRAM_BYTES, SEAL_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.settings import Settings
    from p2pfs.dht.kad.sockets import Transport

# docs/wire.md, section 7: what was recorded can be sent again for so long; message ids and tokens
# make that useless already.
MAX_OFF_SECONDS = 60
_NONCE_BYTES, _TIME_BYTES = 12, 8


class Envelope:
    """What messages travel in: sealed with a key, or without one as they are.

    `clock` is UNIX seconds; `random` makes nonces.
    """

    def __init__(self, key: bytes | None, clock: Callable[[], float], random: Random) -> None:
        self._cipher = None if key is None else AESGCMSIV(key)
        self._clock = clock
        self._random = random

    def wrap(self, message: bytes) -> bytes:
        """A message as it is sent, at most `SEAL_BYTES` longer."""
        if self._cipher is None:
            return message
        return seal(self._cipher, message, self._random.randbytes(_NONCE_BYTES), self._clock())

    def unwrap(self, raw: bytes) -> bytes | None:
        """The message in what has come; None if no member has sealed it in the last minute."""
        return raw if self._cipher is None else unseal(self._cipher, raw, self._clock())


class Sealed:
    """A `Transport` over another that neither shows anything to outsiders nor hears them."""

    def __init__(self, inner: Transport, envelope: Envelope) -> None:
        self._inner = inner
        self._envelope = envelope

    async def open(self, received: Callable[[bytes, Endpoint], None]) -> None:
        """See `Transport`; what no member has sealed in the last minute is dropped."""

        def unsealed(datagram: bytes, source: Endpoint) -> None:
            message = self._envelope.unwrap(datagram)
            if message is not None:
                received(message, source)

        await self._inner.open(unsealed)

    def sendto(self, data: bytes, address: Endpoint) -> None:
        """See `Transport`."""
        self._inner.sendto(self._envelope.wrap(data), address)

    def reaches(self, address: Endpoint) -> bool:
        """See `Transport`."""
        return self._inner.reaches(address)

    @property
    def ips(self) -> tuple[str, ...]:
        """See `Transport`."""
        return self._inner.ips

    @property
    def port(self) -> int:
        """See `Transport`."""
        return self._inner.port

    def close(self) -> None:
        """See `Transport`."""
        self._inner.close()


def envelope_of(settings: Settings) -> Envelope:
    """What a node of that network sends its messages in."""
    members = settings.network.members
    return Envelope(None if members is None else members.seal, settings.clock, settings.random)


def sealed_if_private(plain: Transport, settings: Settings) -> Transport:
    """What a node of that network sends and receives by."""
    if settings.network.members is None:
        return plain
    return Sealed(plain, envelope_of(settings))


def seal(cipher: AESGCMSIV, message: bytes, nonce: bytes, now: float) -> bytes:
    """A datagram, `SEAL_BYTES` longer than the message; the nonce is 12 random bytes."""
    said = int(now).to_bytes(_TIME_BYTES, "big")
    return nonce + cipher.encrypt(nonce, said + message, None)


def unseal(cipher: AESGCMSIV, datagram: bytes, now: float) -> bytes | None:
    """The message; None if no member sealed it, or not within a minute of now."""
    if not SEAL_BYTES <= len(datagram) <= MAX_DATAGRAM_BYTES:
        return None
    try:
        opened = cipher.decrypt(datagram[:_NONCE_BYTES], datagram[_NONCE_BYTES:], None)
    except InvalidTag:
        return None
    said = int.from_bytes(opened[:_TIME_BYTES], "big")
    return opened[_TIME_BYTES:] if abs(now - said) <= MAX_OFF_SECONDS else None
