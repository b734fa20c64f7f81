"""Whether a record that somebody brings is kept: the checks of docs/wire.md, section 7, in order.

Where records lie is `recordstore`; whether the source has a token was seen before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2pfs.dht.kad.wire import Outcome
from p2pfs.dht.records import ProviderRecord, record_of, verified, verified_record
from p2pfs.dht.recordstore import Stored
from p2pfs.dht.subjects import parse_subject
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfs.addresses import Neighbourhood
    from p2pfs.dht.kad.budget import RateLimit
    from p2pfs.dht.kad.estimate import SizeEstimate
    from p2pfs.dht.recordstore import RecordStore
    from p2pfs.dht.subjects import Subject
    from p2pfs.network import Network

_OUTCOMES = {
    Stored.STORED: Outcome.STORED,
    Stored.KEPT_NEWER: Outcome.KEPT_NEWER,
    Stored.FULL: Outcome.FULL,
}


@dataclass(frozen=True, slots=True)
class StoreDesk:
    """Takes records in, from datagrams and from batches alike."""

    own_id: bytes
    network: Network
    neighbourhood: Neighbourhood
    records: RecordStore
    estimate: SizeEstimate
    rate: RateLimit
    clock: Callable[[], float]

    def take(self, subject: bytes, value: bytes, source_ip: str, monotonic: float) -> Outcome:
        """One record out of a datagram, whose reader has seen to the sizes."""
        if not self.neighbourhood.is_near(source_ip) and not self.rate.allows(source_ip, monotonic):
            return Outcome.BUSY
        try:
            return self.take_checked(parse_subject(subject), value, source_ip)
        except MalformedError:
            return Outcome.WRONG

    def take_checked(self, subject: Subject, value: bytes, source_ip: str) -> Outcome:
        """One record of a source within its rate; raises MalformedError for a wrong one."""
        if len(value) > subject.rules.max_bytes:
            raise MalformedError("a record that is too long for its kind")
        if not self.estimate.is_close(self.own_id, subject.key):
            return Outcome.FAR
        now = int(self.clock())
        said = verified(subject, value, self.network, now)
        if isinstance(said, ProviderRecord) and not said.may_come_from(source_ip):
            raise MalformedError("a provider record from where its publisher is not")
        return _OUTCOMES[self.records.put(record_of(subject, said), source_ip, now)]

    def take_repaired(self, subject: Subject, value: bytes, network_ip: str, teller: str) -> bool:
        """Whether a record is kept that a neighbour holds, who had it from that network.

        Where others would have to leave for it, the neighbour's word for that does not count.
        Raises MalformedError.
        """
        if len(value) > subject.rules.max_bytes:
            raise MalformedError("a record that is too long for its kind")
        now = int(self.clock())
        record = verified_record(subject, value, self.network, now)
        has_room = self.records.has_room(record, now)
        is_word = has_room and self.neighbourhood.counts(network_ip, teller)
        return _OUTCOMES[self.records.put(record, network_ip if is_word else teller, now)].is_held
