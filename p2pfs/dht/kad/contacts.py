"""What is known of another node: a hint that somebody gave, or a contact that proved its key.

Values only, and structs since every lookup compares thousands.  Where they are kept is `table`, how
a proof is made and checked `proof`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.referrals import parse_referral

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.network import Network

# Every answer of a lookup names twenty, most of them named before; some 300 bytes each.
_REMEMBERED_HINTS = 16_384
# A node is in one; tests are in some at once.
_MOST_NETWORKS = 4


class Hint(msgspec.Struct, frozen=True, cache_hash=True):
    """A key that is said to be at a UDP address; its id fits the key, its puzzle is solved."""

    public_key: bytes
    node_id: bytes
    endpoint: Endpoint


class Contact(msgspec.Struct, frozen=True, cache_hash=True):
    """A node that proved its key from this UDP address."""

    public_key: bytes
    node_id: bytes
    endpoint: Endpoint
    https_port: int

    @property
    def hint(self) -> Hint:
        return Hint(self.public_key, self.node_id, self.endpoint)

    @property
    def https(self) -> Endpoint:
        """Where its records are read and stored in bulk."""
        return Endpoint(self.endpoint.ip, self.https_port)


class ContactSnapshot(msgspec.Struct, frozen=True):
    """A contact as `status` shows it; times are UNIX seconds."""

    public_key: bytes
    endpoint: Endpoint
    https_port: int
    last_seen: int
    answers: bool

    @property
    def https(self) -> Endpoint:
        """Where its HTTPS port is."""
        return Endpoint(self.endpoint.ip, self.https_port)


def hint(network: Network, public_key: bytes, endpoint: Endpoint) -> Hint | None:
    """A hint whose key counts in the network, or None."""
    if not network.key_counts(public_key):
        return None
    return Hint(public_key, network.node_id(public_key), endpoint)


@lru_cache(_MOST_NETWORKS)
def hint_reader(network: Network) -> Callable[[bytes], Hint | None]:
    """What makes a hint of a packed referral; None of one that does not count in the network.

    One for all nodes of a network: simulated ones all hear of the same nodes.
    """

    @lru_cache(_REMEMBERED_HINTS)
    def read(packed: bytes) -> Hint | None:
        referral = parse_referral(packed)
        return None if referral is None else hint(network, *referral)

    return read


@lru_cache(_REMEMBERED_HINTS)
def shared(contact: Contact) -> Contact:
    """The one object for all equal ones: simulated nodes all know the same contacts."""
    return contact


def distance(one: bytes, other: bytes) -> int:
    """How far two ids are apart: XOR, as `kademlia.node.Node.distance_to`."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
