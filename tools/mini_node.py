"""A node of the overlay in one file, written from docs/wire.md alone: it joins, stores and finds.

It imports nothing of p2pfs: that a network takes it in shows that the page is enough.  Left out are
keeping records for others, HTTPS, IPv6, disjoint paths and private networks.

    python tools/mini_node.py --peer 127.0.0.1:7117 music             # what is under a tag
    python tools/mini_node.py --peer 127.0.0.1:7117 music notes.txt   # describe a small file
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import socket
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import libipld
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

K, COPIES, ASKED_AT_MOST = 20, 8, 120
ANSWER_SECONDS = 0.5
LIFETIME_SECONDS = 24 * 3600
CHALLENGE_BYTES = 42
Address = tuple[str, int]
Map = dict[str, Any]
Proof = tuple[bytes, bytes, int, int, int]  # key, signature, time, UDP port, HTTPS port
Reply = TypedDict("Reply", {"t": bytes, "p": Proof, "a": bytes, "4": bytes, "c": int,
                            "v": list[bytes], "o": int}, total=False)  # fmt: skip
_BAD_VALUE = (ValueError, LookupError, TypeError, OverflowError, RecursionError)
_BAD = (*_BAD_VALUE, msgspec.MsgspecError, InvalidSignature)


@dataclass(frozen=True)
class Link:
    """A CID in DAG-CBOR: tag 42 around a zero byte and the CID."""

    cid: bytes


def cbor(value: object) -> bytes:
    """Section 4: canonical DAG-CBOR."""
    match value:
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return _head(0, value)
        case bytes() | str():
            raw = value.encode() if isinstance(value, str) else value
            return _head(2 + isinstance(value, str), len(raw)) + raw
        case list():
            return _head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            pairs = sorted(value.items(), key=lambda pair: (len(pair[0]), pair[0]))
            return _head(5, len(value)) + b"".join(cbor(key) + cbor(each) for key, each in pairs)
        case Link():
            return _head(6, 42) + cbor(b"\0" + value.cid)
    raise TypeError("not of DAG-CBOR's types")


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in range(4) if number < 256 ** (1 << size))
    return bytes([major << 5 | 24 + size]) + number.to_bytes(1 << size, "big")


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


@dataclass(frozen=True)
class Network:
    """Section 1: ids, the puzzle, signatures; section 4: signed maps."""

    name: str
    id: bytes

    def counts(self, key: bytes) -> bool:
        return self.name != "p2pfs" or sha256(b"p2pfs-puzzle-1", key)[:2] == b"\0\0"

    def node_id(self, key: bytes) -> bytes:
        return sha256(b"p2pfs-node-1", self.id, key)[:20]

    def distance(self, key: bytes, to: bytes) -> int:
        return int.from_bytes(self.node_id(key), "big") ^ int.from_bytes(to, "big")

    def sign(self, key: Ed25519PrivateKey, domain: str, body: bytes) -> bytes:
        return key.sign(domain.encode() + b"\0" + self.id + body)

    def verify(self, key: bytes, domain: str, body: bytes, signature: bytes) -> None:
        """Raises ValueError, InvalidSignature."""
        if not self.counts(key):
            raise ValueError("a key that does not count")
        signed = domain.encode() + b"\0" + self.id + body
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)


def network(name: str) -> Network:
    return Network(name, sha256(b"p2pfs-network-1", name.encode()))


def key_of(subject: list[Any]) -> bytes:
    """Section 6: where records about a subject belong."""
    return sha256(cbor(subject))[:20]


def pack(address: Address) -> bytes:
    return socket.inet_aton(address[0]) + address[1].to_bytes(2, "big")


def unpack(raw: bytes) -> Address:
    return socket.inet_ntoa(raw[:4]), int.from_bytes(raw[4:], "big")


def proof_body(nonce: bytes, asker: bytes, asked: bytes, proof: Proof) -> bytes:
    key, _, at, *ports = proof
    named = b"".join(bytes([len(each)]) + each for each in (asker, asked))
    packed = b"".join(port.to_bytes(2, "big") for port in ports)
    return nonce + named + key + packed + at.to_bytes(8, "big")


@dataclass
class MiniNode:
    """Section 7: one UDP socket, and whom it has met, proven keys at addresses."""

    network: Network
    key: Ed25519PrivateKey
    sock: socket.socket
    contacts: dict[Address, bytes] = field(default_factory=dict)
    tokens: dict[Address, bytes] = field(default_factory=dict)
    secret: bytes = field(default_factory=lambda: os.urandom(32))

    def join(self, peer: Address) -> bool:
        """Whether the peer answered; after it this node is known where its id belongs."""
        self.meet(peer, "ping", {})
        return bool(self.lookup(self.network.node_id(public(self.key))))

    def publish(self, name: str, content: bytes, tag: str) -> int:
        """Store a meta-info of a file of one chunk under a tag; how many nodes hold it now."""
        now = int(time.time())
        meta = {
            "v": 1,
            "publisher": public(self.key),
            "cid": Link(b"\x01\x55\x12\x20" + sha256(content)),
            "name": name,
            "size": len(content),
            "crc32": zlib.crc32(content),
            "mime": "text/plain",
            "tags": [tag],
            "at": [],
            "seq": now * 1000,
            "expires": now + LIFETIME_SECONDS,
        }
        meta["sig"] = self.network.sign(self.key, "p2pfs-meta-1", cbor(meta))
        subject = ["tag", tag, 0, 0]
        request = {"u": cbor(subject), "v": cbor(meta)}
        replies = [self.ask(to, "store", request) for to in self.lookup(key_of(subject))[:COPIES]]
        return sum(reply is not None and reply.get("o") in (0, 1) for reply in replies)

    def find(self, tag: str) -> list[Map]:
        """The meta-infos under a tag that hold, of all its holders."""
        key, found = key_of(["tag", tag, 0, 0]), {}
        for each in self.lookup(key):
            for value in (self.ask(each, "get", {"k": key}) or Reply()).get("v", []):
                try:
                    meta = libipld.decode_dag_cbor(value)
                    signed: Map = {**meta, "cid": Link(meta["cid"])}  # was decoded to plain bytes
                    signature = signed.pop("sig")
                    self.network.verify(meta["publisher"], "p2pfs-meta-1", cbor(signed), signature)
                except _BAD:
                    break  # one wrong value spoils the rest
                found[value] = meta
        return list(found.values())

    def lookup(self, key: bytes) -> list[Address]:
        """The closest proven nodes to a key, the closest first."""
        hints, failed = dict(self.contacts), set[Address]()
        answered: list[Address] = []
        while len(answered) + len(failed) < ASKED_AT_MOST:
            near = sorted(hints.keys() - failed, key=lambda a: self.network.distance(hints[a], key))
            to = next((each for each in near[:K] if each not in answered), None)
            if to is None:
                break
            if (reply := self.meet(to, "find", {"k": key})) is None:
                failed.add(to)
                continue
            answered.append(to)
            packed = reply.get("4", b"")[: K * 38]
            for at in range(0, len(packed) - 37, 38):
                if self.network.counts(known := packed[at : at + 32]) and known != public(self.key):
                    hints.setdefault(unpack(packed[at + 32 : at + 38]), known)
        return sorted(answered, key=lambda a: self.network.distance(self.contacts[a], key))[:K]

    def meet(self, to: Address, name: str, body: Map) -> Reply | None:
        """As `ask`, of somebody who is to prove his key and may list this node."""
        asked = {**body, "s": public(self.key), "n": os.urandom(16), "a": pack(to)}
        reply = self.ask(to, name, asked) or Reply()
        try:
            covered = proof_body(asked["n"], reply["a"], pack(to), proof := reply["p"])
            self.network.verify(proof[0], "p2pfs-proof-1", covered, proof[1])
        except _BAD:
            return None
        self.contacts[to] = proof[0]
        return reply

    def ask(self, to: Address, name: str, body: Map) -> Reply | None:
        """The reply to a request that carries the asked node's token."""
        reply = None if to in self.tokens else self._exchange(to, "ping", {"n": os.urandom(16)})
        for _ in range(2):  # a token may have grown old
            if reply is not None and "t" in reply:
                self.tokens[to] = reply["t"]
            if to not in self.tokens:
                return None
            reply = self._exchange(to, name, {**body, "t": self.tokens[to]})
            if reply is None or set(reply) != {"t"}:
                break
        return reply

    def _exchange(self, to: Address, name: str, body: Map) -> Reply | None:
        message_id = os.urandom(20)
        with suppress(OSError):  # others name what addresses they like
            self.sock.sendto(b"\0" + message_id + msgspec.msgpack.encode([name, [body]]), to)
            return self.listen(ANSWER_SECONDS, (to, message_id))
        return None

    def listen(self, seconds: float, awaited: tuple[Address, bytes] | None) -> Reply | None:
        """Answer others for so long, or until the awaited reply comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                data, source = self.sock.recvfrom(2048)
                if data[0] == 1 and (source, data[1:21]) == awaited:
                    return msgspec.msgpack.decode(data[21:], type=Reply)
                if data[0] == 0 and (answer := self._answer(data, source)):
                    self.sock.sendto(b"\1" + data[1:21] + msgspec.msgpack.encode(answer), source)
            except TimeoutError:
                break
            except _BAD:
                continue  # others may send what they like
        return None

    def _answer(self, data: bytes, source: Address) -> Map | None:
        name, arguments = msgspec.msgpack.decode(data[21:], type=tuple[str, list[Map]])
        body, epoch = arguments[0], int(time.time()) // 300
        fresh, last = (self._token(source, each) for each in (epoch, epoch - 1))
        if body.get("t") not in (fresh, last):  # never more than was asked with
            return {"t": fresh} if len(data) >= CHALLENGE_BYTES else None
        known = b"".join(key + pack(at) for at, key in self.contacts.items() if at != source)
        kinds: Map = {"find": {"c": 0, "4": known[: K * 38]}, "get": {"v": []}, "store": {"o": 3}}
        reply = {"t": fresh, **kinds.get(name, {})}
        if "n" in body:
            key, now, port = public(self.key), int(time.time()), self.sock.getsockname()[1]
            covered = proof_body(body["n"], pack(source), body["a"], (key, b"", now, port, port))
            signature = self.network.sign(self.key, "p2pfs-proof-1", covered)
            reply |= {"p": (key, signature, now, port, port), "a": pack(source)}
        return reply

    def _token(self, source: Address, epoch: int) -> bytes:
        return hmac.digest(self.secret, pack(source) + epoch.to_bytes(8, "big"), "sha256")[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description="A small node of the p2pfs overlay.")
    parser.add_argument("--peer", required=True, help="IPv4:PORT of a node")
    parser.add_argument("--network", default="p2pfs", type=network)
    parser.add_argument("tag", help="in normal form")
    parser.add_argument("file", nargs="?", type=Path, help="at most 256 KiB; describe it")
    chosen = parser.parse_args()
    keys = iter(Ed25519PrivateKey.generate, None)
    key = next(key for key in keys if chosen.network.counts(public(key)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        node = MiniNode(chosen.network, key, sock)
        host, _, port = chosen.peer.rpartition(":")
        if not node.join((host, int(port))):
            raise SystemExit(f"nobody answers at {chosen.peer}")
        if chosen.file is None:
            for meta in node.find(chosen.tag):
                print(repr(meta["name"]), meta["size"], "bytes")
        else:
            print(node.publish(chosen.file.name, chosen.file.read_bytes(), chosen.tag), "copies")


if __name__ == "__main__":
    main()
