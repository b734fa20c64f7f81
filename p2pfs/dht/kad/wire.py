"""The overlay's messages: bytes to frozen values and back, with every limit of the format.

No I/O, no clock, and no judgement whether an address, a key or a record counts.  What addresses and
referrals are inside them is in `referrals`, what a proof's signature covers in `proof`.

A datagram keeps `rpcudp`'s framing: one byte kind (0 request, 1 reply), a 20-byte message id chosen
by the asker, then msgpack.  A request's msgpack is `[name, [body]]`, a reply's is a map; a body is
a map too.  Keys a reader does not know are ignored, so that later versions can add some.

In every request:

| key | type | what |
|---|---|---|
| `t` | bytes 16 | the token that the asked address issued; without it the answer is a token |
| `s` | bytes 32 | the asker's public key, if it may be listed; a hint, proven by asking back |
| `p` | array | in the place of `s`: a proof of the asker's key, made for the token `t` |
| `b` | bytes 16 | with `p`: a token for the asked node, should it ask the asker |
| `n` | bytes 16 | nonce: the answer shall prove the asked node's key |
| `a` | bytes 6 or 18 | with `n`: the address the request is sent to (IP, then port) |

| request | more keys |
|---|---|
| `ping` | none |
| `find` | `k` bytes 20: the key looked for |
| `get` | `k` bytes 20: the records' key |
| `store` | `u` bytes: the subject, whose hash is the key; `v` bytes: the signed record |
| `reach` | `d` bytes 16: a nonce that somebody else is to send to the asker's address |
| `dial` | `d`, and `x` bytes 6 or 18: send `dialed` with it to this address |
| `dialed` | `d`; needs no token, and gets no answer |

| reply key | type | what |
|---|---|---|
| `t` | bytes 16 | a token for the asker's address; alone: ask again with it |
| `p` | array | proof: key (32), signature (64), time, UDP port, HTTPS port |
| `a` | bytes 6 or 18 | the address the request came from, as the signature covers it |
| `4` | bytes 38 a referral | to `find`: referrals by IPv4 |
| `6` | bytes 50 a referral | to `find`: referrals by IPv6 |
| `c` | integer | to `find` and `store`: how many records the node holds under the key |
| `v` | array of bytes | to `get`: whole records, as many as fit |
| `m` | integer | to `get`: how many more there are, to be read over HTTPS |
| `o` | integer | to `store`: see `Outcome` |
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, field

from p2pfs.addresses import HIGHEST_PORT
from p2pfs.content.metainfo import MAX_META_BYTES
from p2pfs.dht.subjects import MAX_SUBJECT_BYTES
from p2pfs.errors import MalformedError
from p2pfs.network import NODE_ID_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES

# What passes every IPv6 path: its minimum MTU of 1,280 less the IPv6 and UDP headers (RFC 8200).
MAX_DATAGRAM_BYTES = 1_232
# A private network seals datagrams: nonce 12, time 8, tag 16.  Kept free in every network, so that
# a message that fits in one fits in the other.
SEAL_BYTES = 36
MAX_MESSAGE_BYTES = MAX_DATAGRAM_BYTES - SEAL_BYTES
MESSAGE_ID_BYTES = 20
HEADER_BYTES = 1 + MESSAGE_ID_BYTES
TOKEN_BYTES = 16
NONCE_BYTES = 16
# The first datagram to an address that has never answered; a victim named by a hint gets no more.
MAX_FIRST_BYTES = 120
# What fits in a datagram at least one byte a record; no honest answer comes near.
_MAX_RECORDS_A_REPLY = 64
_MAX_COUNT = 2**31
_LATEST_TIME = 2**40

_Token = Annotated[bytes, Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]
_Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
_PublicKey = Annotated[bytes, Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
_Signature = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
_Key = Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
_Address = Annotated[bytes, Meta(min_length=6, max_length=18)]
_Subject = Annotated[bytes, Meta(min_length=1, max_length=MAX_SUBJECT_BYTES)]
_Record = Annotated[bytes, Meta(min_length=1, max_length=MAX_META_BYTES)]
_Port = Annotated[int, Meta(ge=1, le=HIGHEST_PORT)]
_Count = Annotated[int, Meta(ge=0, le=_MAX_COUNT)]


class Kind(IntEnum):
    """The first byte of a datagram."""

    REQUEST = 0
    REPLY = 1


class Outcome(IntEnum):
    """What became of a store; the holder has the record, or a newer one, after the first two."""

    STORED = 0
    KEPT_NEWER = 1
    FULL = 2
    FAR = 3
    BUSY = 4
    WRONG = 5

    @property
    def is_held(self) -> bool:
        """Whether the record, or a newer one, is there now."""
        return self in (Outcome.STORED, Outcome.KEPT_NEWER)


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """That a key is at an address; what the signature covers is in `proof`."""

    public_key: _PublicKey
    signature: _Signature
    time: Annotated[int, Meta(ge=0, le=_LATEST_TIME)]
    udp_port: _Port
    https_port: _Port


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every request may carry."""

    token: _Token | None = field(name="t", default=None)
    sender: _PublicKey | None = field(name="s", default=None)
    proof: Proof | None = field(name="p", default=None)
    back: _Token | None = field(name="b", default=None)
    nonce: _Nonce | None = field(name="n", default=None)
    named: _Address | None = field(name="a", default=None)

    @property
    def asker(self) -> bytes | None:
        """The public key that the asker says, or proves, is its own."""
        return self.sender if self.proof is None else self.proof.public_key


class Ping(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for a token, or for a proof."""


class Find(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for contacts closer to a key, and how many records lie under it."""

    key: _Key = field(name="k")


class Get(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for the records under a key."""

    key: _Key = field(name="k")


class Store(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Hands over one record; the key follows from the subject."""

    subject: _Subject = field(name="u")
    value: _Record = field(name="v")


class Reach(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to have somebody else send a nonce to where this request comes from."""

    dial_nonce: _Nonce = field(name="d")


class Dial(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to send a nonce to an address that has asked for it."""

    dial_nonce: _Nonce = field(name="d")
    target: _Address = field(name="x")


class Dialed(Request, frozen=True, kw_only=True, omit_defaults=True):
    """The nonce, from where its receiver may never have sent to."""

    dial_nonce: _Nonce = field(name="d")


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to any request; which fields are set follows from what was asked."""

    token: _Token | None = field(name="t", default=None)
    proof: Proof | None = field(name="p", default=None)
    seen: _Address | None = field(name="a", default=None)
    referrals_4: bytes = field(name="4", default=b"")
    referrals_6: bytes = field(name="6", default=b"")
    count: _Count | None = field(name="c", default=None)
    values: Annotated[tuple[_Record, ...], Meta(max_length=_MAX_RECORDS_A_REPLY)] | None = field(
        name="v", default=None
    )
    more: _Count = field(name="m", default=0)
    outcome: Outcome | None = field(name="o", default=None)

    @property
    def is_challenge(self) -> bool:
        """Whether the request was not answered for want of a valid token, which this brings."""
        return self.token is not None and self == Reply(token=self.token)


_KINDS = {kind.value: kind for kind in Kind}
_REQUEST_HEAD, _REPLY_HEAD = bytes([Kind.REQUEST]), bytes([Kind.REPLY])
_NAMES: dict[type[Request], str] = {
    Ping: "ping",
    Find: "find",
    Get: "get",
    Store: "store",
    Reach: "reach",
    Dial: "dial",
    Dialed: "dialed",
}
_REQUEST_DECODERS = {name: msgspec.msgpack.Decoder(kind) for kind, name in _NAMES.items()}
_CALL_DECODER = msgspec.msgpack.Decoder(
    tuple[str, Annotated[tuple[msgspec.Raw, ...], Meta(min_length=1, max_length=8)]]
)
_REPLY_DECODER = msgspec.msgpack.Decoder(Reply)
_ENCODER = msgspec.msgpack.Encoder()
# msgspec reports a nesting bomb as RecursionError, and text that is not UTF-8 as itself.
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")


def parse_header(datagram: bytes) -> tuple[Kind, bytes]:
    """The kind and the message id; raises MalformedError."""
    if not HEADER_BYTES < len(datagram) <= MAX_DATAGRAM_BYTES:
        raise MalformedError("a datagram of that length is no message")
    kind = _KINDS.get(datagram[0])
    if kind is None:
        raise MalformedError("neither a request nor a reply")
    return kind, datagram[1:HEADER_BYTES]


def parse_request(datagram: bytes) -> Request:
    """The request in a datagram whose header was parsed; raises MalformedError."""
    name, arguments = _decoded(_CALL_DECODER, datagram[HEADER_BYTES:])
    decoder = _REQUEST_DECODERS.get(name)
    if decoder is None:
        raise MalformedError("no such request")
    return _decoded(decoder, bytes(arguments[0]))


def parse_reply(datagram: bytes) -> Reply:
    """The reply in a datagram whose header was parsed; raises MalformedError."""
    return _decoded(_REPLY_DECODER, datagram[HEADER_BYTES:])


def encode_request(message_id: bytes, request: Request) -> bytes:
    """The datagram of a request."""
    body = _ENCODER.encode((_NAMES[type(request)], (request,)))
    return _REQUEST_HEAD + message_id + body


def encode_reply(message_id: bytes, reply: Reply) -> bytes:
    """The datagram of a reply."""
    return _REPLY_HEAD + message_id + _ENCODER.encode(reply)


def _decoded(decoder: msgspec.msgpack.Decoder[T], raw: bytes) -> T:
    try:
        return decoder.decode(raw)
    except _DECODING_ERRORS as error:
        raise MalformedError(f"not a message: {error}") from error
