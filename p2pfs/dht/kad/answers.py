"""What this node answers to requests.  No sockets: a request and its source in, a reply out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import msgspec

from p2pfs.dht.kad.referrals import MAX_REFERRALS, pack_address, pack_referrals, parse_address
from p2pfs.dht.kad.wire import (
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    MESSAGE_ID_BYTES,
    TOKEN_BYTES,
    Dial,
    Dialed,
    Find,
    Get,
    Outcome,
    Reach,
    Reply,
    Request,
    Store,
    encode_reply,
)
from p2pfs.dht.recordstore import RecordStoreError
from p2pfs.dht.subjects import key_of
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Endpoint, Neighbourhood
    from p2pfs.dht.kad.budget import RateLimit
    from p2pfs.dht.kad.dialbacks import Dialbacks
    from p2pfs.dht.kad.proof import Prover
    from p2pfs.dht.kad.stores import StoreDesk
    from p2pfs.dht.kad.table import Table
    from p2pfs.dht.kad.tokens import Tokens
    from p2pfs.dht.recordstore import RecordStore

_LOG = logging.getLogger(__name__)

# After these a publisher wants to know whether the key is full: a tag may have a second level.
_COUNTED = (Outcome.STORED, Outcome.KEPT_NEWER, Outcome.FULL)
# A subject that was parsed before is one of a tag if it begins so: a list of four, this the first.
_TAG_HEAD = b"\x84\x63tag"
_NO_ID = bytes(MESSAGE_ID_BYTES)
# What brings a token: whoever sends less than that gets nothing.
_CHALLENGE_BYTES = len(encode_reply(_NO_ID, Reply(token=bytes(TOKEN_BYTES))))
# A `get` answers whole records in what its own map and a new token leave, 5 bytes a record's frame.
_RECORDS_BYTES = MAX_MESSAGE_BYTES - HEADER_BYTES - 48
_RECORD_FRAME_BYTES = 5
# What somebody else is to send to the asker, or was asked to.
_ABOUT_DATAGRAMS = (Reach, Dial, Dialed)
# A proof and the asker's address beside them, with their keys in the map.
_PROOF_BYTES = 144


@dataclass(frozen=True, slots=True)
class Answers:
    """One node's answers; `greet(request, source)` hears of every one with a valid token."""

    prover: Prover
    tokens: Tokens
    table: Table
    records: RecordStore
    desk: StoreDesk
    neighbourhood: Neighbourhood
    rate: RateLimit
    is_welcome: Callable[[Endpoint], bool]
    may_be_own: Callable[[Endpoint], bool]
    greet: Callable[[Request, Endpoint], None]
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    dialbacks: Dialbacks

    def answer(self, request: Request, source: Endpoint, length: int) -> Reply | None:
        """The reply, or None for those who get none."""
        if not self.is_welcome(source):
            return None
        if isinstance(request, Dialed):
            self.dialbacks.dialed(request.dial_nonce, source)
            return None
        now = self.clock()
        fresh, holds = self.tokens.check(request.token, source, now)
        if not holds:
            return Reply(token=fresh) if length >= _CHALLENGE_BYTES else None
        if not self._is_within_rate(source):
            return None
        self.greet(request, source)
        return self._whole(request, source, fresh if request.token != fresh else None)

    def answer_connected(self, request: Request, source: Endpoint) -> Reply | None:
        """The reply to a request that came over TCP; None if there are too many of them.

        The handshake stands for the token.  Who asks so is a client, whatever he says: nobody is
        greeted.  Raises MalformedError for what only a datagram can ask.
        """
        if isinstance(request, _ABOUT_DATAGRAMS):
            raise MalformedError("that is asked by datagram, or not at all")
        if not self.is_welcome(source):
            raise MalformedError(f"{source.ip} is no address that counts here")
        return self._whole(request, source, None) if self._is_within_rate(source) else None

    def _is_within_rate(self, source: Endpoint) -> bool:
        near = self.neighbourhood.is_near(source.ip)
        return near or self.rate.allows(source.ip, self.monotonic())

    def _whole(self, request: Request, source: Endpoint, token: bytes | None) -> Reply:
        """The reply with its proof, a new token, and referrals."""
        try:
            reply = self._answer(request, source)
        except RecordStoreError as error:  # others tell of a disk that fails once a minute
            _LOG.debug("%s is answered as if nothing were stored here: %s", source, error)
            reply = Reply()
        if request.nonce is not None and self._names_us(request.named):
            proof = self.prover.prove(request.nonce, source, request.named, self.clock())
            reply = msgspec.structs.replace(reply, proof=proof, seen=pack_address(source))
        if token is not None:
            reply = msgspec.structs.replace(reply, token=token)
        return self._with_referrals(reply, request, source) if isinstance(request, Find) else reply

    def _names_us(self, named: bytes | None) -> TypeGuard[bytes]:
        """Whether a request was sent to this node's own address, as far as is known.

        Whoever passes on a question that was put to him, at his address, would get our word for it.
        """
        try:
            return named is not None and self.may_be_own(parse_address(named))
        except MalformedError:
            return False

    def _answer(self, request: Request, source: Endpoint) -> Reply:
        now = int(self.clock())
        match request:
            case Find():
                return Reply(count=self.records.count(request.key, now))
            case Get():
                room = _RECORDS_BYTES - (_PROOF_BYTES if request.nonce is not None else 0)
                return self._records(request.key, room, now)
            case Store():
                outcome = self.desk.take(
                    request.subject, request.value, source.ip, self.monotonic()
                )
                return Reply(outcome=outcome, count=self._count(request.subject, outcome, now))
            case Reach():
                self.dialbacks.reach(request.dial_nonce, source)
            case Dial():
                self.dialbacks.dial(request.dial_nonce, request.target, source)
        return Reply()

    def _count(self, subject: bytes, outcome: Outcome, now: int) -> int | None:
        """What only publishers under a tag want to know, and costs as much as to store."""
        if outcome not in _COUNTED or not subject.startswith(_TAG_HEAD):
            return None
        return self.records.count(key_of(subject), now)

    def _records(self, key: bytes, left: int, now: int) -> Reply:
        """As many whole records as fit into `left` bytes; the rest is read over HTTPS."""
        page = self.records.page(key, b"", left, now)
        values: list[bytes] = []
        for record in page.records:
            left -= len(record.value) + _RECORD_FRAME_BYTES
            if left < 0:
                break
            values.append(record.value)
        more = self.records.count(key, now) - len(values)
        return Reply(values=tuple(values), more=max(0, more))

    def _with_referrals(self, reply: Reply, request: Find, source: Endpoint) -> Reply:
        """With the closest contacts, without what is of no use to the asker."""
        asker, counts = request.asker, self.neighbourhood.counts
        closest = [
            (contact.public_key, contact.endpoint)
            for contact in self.table.closest(request.key, self.table.k + 1)
            if contact.public_key != asker and contact.endpoint != source
            if counts(contact.endpoint.ip, source.ip)
        ][: min(self.table.k, MAX_REFERRALS)]
        # Twenty of IPv6 fit a datagram with all that may stand beside them, to two bytes.
        packed_4, packed_6 = pack_referrals(closest)
        return msgspec.structs.replace(reply, referrals_4=packed_4, referrals_6=packed_6)
