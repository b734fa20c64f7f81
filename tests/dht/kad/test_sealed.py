"""Datagrams of a private network: outsiders neither read, nor make, nor get any."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.sealed import Envelope, Sealed, seal, unseal
from p2pfs.dht.kad.wire import (
    MAX_DATAGRAM_BYTES,
    MAX_FIRST_BYTES,
    MAX_MESSAGE_BYTES,
    SEAL_BYTES,
    Ping,
    encode_request,
)
from p2pfs.dht.overlay import Provider
from p2pfs.errors import NoPeersError
from p2pfs.network import MemberKeys, Network, private_network, public_network
from tests.dht.kad.nodes import LOOPBACK, cid_of, expiry, open_node, udp_socket, wait_until

NOW = 1_800_000_000.0
CIPHER = AESGCMSIV(bytes(32))
NONCE = bytes(range(12))
SECRET = b"a secret of the tests"
PRIVATE = private_network("kad-tests", SECRET)
SONG = cid_of(b"song")


@given(st.binary(max_size=MAX_MESSAGE_BYTES), st.integers(-60, 60))
def test_what_is_sealed_opens_for_a_minute_and_fits_a_datagram(message: bytes, off: int) -> None:
    datagram = seal(CIPHER, message, NONCE, NOW)
    assert len(datagram) == len(message) + SEAL_BYTES <= MAX_DATAGRAM_BYTES
    assert unseal(CIPHER, datagram, NOW + off) == message
    assert message not in datagram or len(message) < 4


@pytest.mark.parametrize("off", [61, -61, 3_600, -NOW])
def test_what_is_older_or_from_later_is_dropped(off: float) -> None:
    assert unseal(CIPHER, seal(CIPHER, b"message", NONCE, NOW), NOW + off) is None


@given(st.binary(max_size=1_300))
def test_garbage_does_not_open(garbage: bytes) -> None:
    assert unseal(CIPHER, garbage, NOW) is None


@given(st.data())
def test_one_bit_more_or_less_does_not_open(data: st.DataObject) -> None:
    datagram = bytearray(seal(CIPHER, b"message", NONCE, NOW))
    bit = data.draw(st.integers(0, len(datagram) * 8 - 1))
    datagram[bit // 8] ^= 1 << bit % 8
    assert unseal(CIPHER, bytes(datagram), NOW) is None


def test_another_secret_opens_nothing() -> None:
    other = AESGCMSIV(b"\1" * 32)
    assert unseal(other, seal(CIPHER, b"message", NONCE, NOW), NOW) is None


def test_a_first_contact_is_small_enough_sealed_too() -> None:
    ping = encode_request(bytes(20), Ping(nonce=bytes(16)))
    assert len(seal(CIPHER, ping, NONCE, NOW)) <= MAX_FIRST_BYTES


class Wire:
    """A `Transport` that keeps what is sent, and hears what a test says."""

    ips = (LOOPBACK,)
    port = 7117

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Endpoint]] = []
        self.hear: Callable[[bytes, Endpoint], None] = lambda _data, _source: None

    async def open(self, received: Callable[[bytes, Endpoint], None]) -> None:
        self.hear = received

    def sendto(self, data: bytes, address: Endpoint) -> None:
        self.sent.append((data, address))

    def reaches(self, address: Endpoint) -> bool:
        return address.port == 7117

    def close(self) -> None:
        self.ips = ()


async def test_a_sealed_transport_is_the_one_below_in_all_else() -> None:
    below, peer = Wire(), Endpoint(LOOPBACK, 7118)
    sealed = Sealed(below, Envelope(bytes(32), lambda: NOW, random.Random(1)))
    heard: list[bytes] = []
    await sealed.open(lambda data, _: heard.append(data))
    sealed.sendto(b"message", peer)
    sealed.sendto(b"message", peer)
    (first, to), (second, _) = below.sent
    assert to == peer
    assert first != second
    below.hear(b"garbage", peer)
    below.hear(first, peer)
    assert heard == [b"message"]
    assert (sealed.ips, sealed.port) == ((LOOPBACK,), 7117)
    assert [sealed.reaches(Endpoint(LOOPBACK, port)) for port in (7117, 7118)] == [True, False]
    sealed.close()
    assert sealed.ips == ()


def only_sealed(network: Network) -> Network:
    """Of this name and id, but with another seal: as far as an outsider can get."""
    assert network.members is not None
    keys = MemberKeys(bytes(32), network.members.authority)
    return Network(network.name, network.id, network.puzzle_bits, keys)


async def test_members_meet_and_outsiders_are_not_even_answered() -> None:
    async with open_node(network=PRIVATE) as (first, address):
        async with open_node(address, network=PRIVATE) as (second, _):
            await wait_until(lambda: len(first.contacts()) == len(second.contacts()) == 1)
            assert await first.announce(SONG, expiry()) == 1
            found: list[Provider] = []
            await second.providers(SONG, found.append)
            assert len(found) == 1
            assert found[0].addresses == (address,)
        for outside in (
            public_network("kad-tests"),
            private_network("kad-tests", b"another secret entirely"),
            private_network("another", SECRET),
            only_sealed(PRIVATE),
        ):
            async with open_node(address, network=outside) as (stranger, _):
                await stranger.wait_settled()
                assert stranger.contacts() == ()
                with pytest.raises(NoPeersError):
                    await stranger.providers(SONG, lambda _: None)


async def test_no_datagram_leaves_for_whoever_sends_garbage() -> None:
    async with open_node(network=PRIVATE) as (_, address):
        with udp_socket() as sock:
            outsider = trio.socket.from_stdlib_socket(sock)
            to = (address.ip, address.port)
            await outsider.sendto(encode_request(bytes(20), Ping(nonce=bytes(16))), to)
            sealed = AESGCMSIV(PRIVATE.members.seal)  # type: ignore[union-attr]
            stale = seal(sealed, encode_request(bytes(20), Ping(nonce=bytes(16))), NONCE, 0)
            for datagram in (b"", b"x" * 1_400, stale):
                await outsider.sendto(datagram, to)
            with trio.move_on_after(0.3) as patience:
                await outsider.recvfrom(2_000)
            assert patience.cancelled_caught
            await outsider.sendto(
                seal(sealed, encode_request(bytes(20), Ping(nonce=bytes(16))), NONCE, time.time()),
                to,
            )
            with trio.fail_after(2):
                answer, _ = await outsider.recvfrom(2_000)
            assert unseal(sealed, answer, time.time()) is not None
