"""Where nodes are, as messages say it: packed addresses, and referrals, each to a key at one.

An address is an IP (4 or 16 bytes) and a port (2).  A referral is a public key (32) and an address;
a reply has those by IPv4 in one field and those by IPv6 in another, one after the other.  They are
hints: whose word counts, and whether anybody is there, is not judged here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from p2pfs.addresses import Endpoint, endpoint
from p2pfs.errors import MalformedError
from p2pfs.network import PUBLIC_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from p2pfs.dht.kad.wire import Reply

T = TypeVar("T")

# Of a reply, as many as a lookup ends with; it fits a datagram.
MAX_REFERRALS = 20
# Twenty referrals a reply, and the same ones again and again; up to some 400 bytes each.
_REMEMBERED_ADDRESSES = 16_384

_ADDRESS_BYTES = (6, 18)
_PORT_BYTES = 2
_REFERRAL_4_BYTES = PUBLIC_KEY_BYTES + 6
_REFERRAL_6_BYTES = PUBLIC_KEY_BYTES + 18


@lru_cache(_REMEMBERED_ADDRESSES)
def pack_address(address: Endpoint) -> bytes:
    """IP and port: 6 or 18 bytes."""
    return address.packed_ip + address.port.to_bytes(_PORT_BYTES, "big")


@lru_cache(_REMEMBERED_ADDRESSES)
def parse_address(packed: bytes) -> Endpoint:
    """The endpoint in 6 or 18 bytes; raises MalformedError, also for a port no peer may use."""
    if len(packed) not in _ADDRESS_BYTES:
        raise MalformedError("an address is 6 or 18 bytes")
    return endpoint(packed[:-_PORT_BYTES], int.from_bytes(packed[-_PORT_BYTES:], "big"))


@lru_cache(_REMEMBERED_ADDRESSES)
def pack_referral(public_key: bytes, address: Endpoint) -> bytes:
    """38 or 50 bytes."""
    return public_key + pack_address(address)


def pack_referrals(referrals: Iterable[tuple[bytes, Endpoint]]) -> tuple[bytes, bytes]:
    """The fields `4` and `6` for (public key, address) pairs."""
    packed = [pack_referral(*each) for each in referrals]
    return (
        b"".join([each for each in packed if len(each) == _REFERRAL_4_BYTES]),
        b"".join([each for each in packed if len(each) == _REFERRAL_6_BYTES]),
    )


def parse_referrals(reply: Reply, parse: Callable[[bytes], T | None]) -> list[T]:
    """What `parse` makes of each referral of a reply, at most 20; raises MalformedError.

    Those that it makes nothing of are left out; the others stand.
    """
    found, count = [], 0
    for field_bytes, size in (
        (reply.referrals_4, _REFERRAL_4_BYTES),
        (reply.referrals_6, _REFERRAL_6_BYTES),
    ):
        if len(field_bytes) % size:
            raise MalformedError("referrals of the wrong length")
        count += len(field_bytes) // size
        if count > MAX_REFERRALS:
            raise MalformedError("too many referrals")
        for at in range(0, len(field_bytes), size):
            referral = parse(field_bytes[at : at + size])
            if referral is not None:
                found.append(referral)
    return found


def parse_referral(packed: bytes) -> tuple[bytes, Endpoint] | None:
    """A public key and its address; None for an address that no peer may have."""
    try:
        return packed[:PUBLIC_KEY_BYTES], parse_address(packed[PUBLIC_KEY_BYTES:])
    except MalformedError:
        return None
