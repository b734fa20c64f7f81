"""Proofs that a key is at an address: made for an asker's nonce, checked by the asker.

The signature covers (domain `p2pfs-proof-1`): nonce (16) | length of the asker's address (1) and
that address | length of the asked address (1) and that address | key (32) | UDP port (2) | HTTPS
port (2) | time (8).  How a proof lies in a message is in `wire`; no sockets here.

An asker introduces itself by a proof of its own: the token that it was sent is the nonce.  Whoever
issued that will check it, so he stands in the asker's place, and the asked address, which the
prover cannot know, is empty: the token says that what was sent there arrived.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from p2pfs.addresses import Endpoint, endpoint
from p2pfs.dht.kad.contacts import Contact
from p2pfs.dht.kad.referrals import pack_address, parse_address
from p2pfs.dht.kad.wire import Proof, Reply
from p2pfs.errors import MalformedError
from p2pfs.network import SIGNATURE_BYTES

if TYPE_CHECKING:
    from p2pfs.dht.kad.wire import Request
    from p2pfs.identity import Identity
    from p2pfs.network import Network

_DOMAIN = "p2pfs-proof-1"
# Where an introduction has the address of the prover.
_UNKNOWN = b""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a checked proof says: who is there, where it sees the asker, what time it is there."""

    contact: Contact
    seen: Endpoint
    time: int


@dataclass(frozen=True, slots=True)
class Prover:
    """The own side: its key, and the ports it is reached at."""

    identity: Identity
    network: Network
    udp_port: int
    https_port: int

    def introduce(self, token: bytes, to: Endpoint, now: float) -> Proof:
        """A proof for the node that issued the token."""
        return self.prove(token, to, _UNKNOWN, now)

    def prove(self, nonce: bytes, asker: Endpoint, asked: bytes, now: float) -> Proof:
        """A proof for a request that came from `asker` and says it was sent to `asked`."""
        unsigned = Proof(
            self.identity.public_key,
            bytes(SIGNATURE_BYTES),
            int(now),
            self.udp_port,
            self.https_port,
        )
        body = proof_body(nonce, pack_address(asker), asked, unsigned)
        signature = self.network.sign(self.identity.private_key, _DOMAIN, body)
        return Proof(
            unsigned.public_key, signature, unsigned.time, unsigned.udp_port, unsigned.https_port
        )


def proven(
    reply: Reply, request: Request, asked: Endpoint, own_port: int, network: Network
) -> Proven:
    """Who answered a datagram that carried a nonce; raises MalformedError.

    `asked` is where the request was sent and the reply came from: a signature over another address
    was made for somebody else and passed on.  So was one whose maker saw the request come from
    there, at another port than the own one.
    """
    found = _signed(reply, request, asked, network)
    seen = found.seen
    if _is_passed_on(seen, asked, own_port):
        raise MalformedError("the proof was made for somebody at the same address")
    return found


def introduced(request: Request, source: Endpoint, own_port: int, network: Network) -> Proven:
    """Who asks, by a request with a valid token; raises MalformedError.

    A signature for another address than this node's was made for somebody else, who may be passing
    it on from his own: so was one for the address that the request comes from.
    """
    if request.proof is None or request.named is None or request.token is None:
        raise MalformedError("the request proves nothing")
    asked, proof = parse_address(request.named), request.proof
    if _is_passed_on(asked, source, own_port):
        raise MalformedError("the introduction was made for somebody at the same address")
    body = proof_body(request.token, request.named, _UNKNOWN, proof)
    network.verify(proof.public_key, _DOMAIN, body, proof.signature)
    return Proven(_contact(proof, source, network), asked, proof.time)


def proven_over_tls(
    reply: Reply, request: Request, asked: Endpoint, own_port: int, network: Network, key: bytes
) -> Proven:
    """The same of a reply that came over a connection to the owner of `key`; MalformedError.

    Whoever passes on a proof of somebody else has a connection under a key of his own.  The port
    that was seen is one of TCP's, and says nothing of where this node is: the own one is put there.
    """
    found = _signed(reply, request, asked, network)
    if found.contact.public_key != key:
        raise MalformedError("the proof is not by the other end of the connection")
    return replace(found, seen=Endpoint(found.seen.ip, own_port))


def _signed(reply: Reply, request: Request, asked: Endpoint, network: Network) -> Proven:
    if reply.proof is None or reply.seen is None or request.nonce is None:
        raise MalformedError("the answer proves nothing")
    proof = reply.proof
    body = proof_body(request.nonce, reply.seen, pack_address(asked), proof)
    network.verify(proof.public_key, _DOMAIN, body, proof.signature)
    return Proven(_contact(proof, asked, network), parse_address(reply.seen), proof.time)


def _is_passed_on(seen: Endpoint, at: Endpoint, own_port: int) -> bool:
    """Whether what the prover takes for this node is, rather, somebody at the prover's address."""
    return seen.ip == at.ip and (seen.port != own_port or seen == at)


def _contact(proof: Proof, at: Endpoint, network: Network) -> Contact:
    https = endpoint(at.ip, proof.https_port)
    return Contact(proof.public_key, network.node_id(proof.public_key), at, https.port)


def proof_body(nonce: bytes, asker: bytes, asked: bytes, proof: Proof) -> bytes:
    """What the signature of a proof covers, after the domain and the network id."""
    return b"".join(
        (
            nonce,
            bytes([len(asker)]),
            asker,
            bytes([len(asked)]),
            asked,
            proof.public_key,
            proof.udp_port.to_bytes(2, "big"),
            proof.https_port.to_bytes(2, "big"),
            proof.time.to_bytes(8, "big"),
        )
    )
