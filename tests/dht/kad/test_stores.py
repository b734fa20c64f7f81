from __future__ import annotations

from dataclasses import replace

import pytest

from p2pfs.addresses import Endpoint, Neighbourhood
from p2pfs.dht.kad.budget import RateLimit
from p2pfs.dht.kad.estimate import SizeEstimate
from p2pfs.dht.kad.stores import StoreDesk
from p2pfs.dht.kad.wire import Outcome
from p2pfs.dht.memorystore import MemoryRecordStore
from p2pfs.dht.records import create_provider_record, verified_record
from p2pfs.dht.recordstore import Usage
from p2pfs.dht.subjects import RULES, TAG, Subject, parse_subject, provider_subject, tag_subject
from p2pfs.errors import MalformedError
from tests.dht.kad.nodes import NETWORK, cid_of, contact, expiry, identity, meta_of

NOW = expiry() - 3600
FAR_IP, OWN_ID = "8.8.8.8", bytes(20)


def _desk(estimate: SizeEstimate | None = None, rate: RateLimit | None = None) -> StoreDesk:
    return StoreDesk(
        OWN_ID,
        NETWORK,
        Neighbourhood(),
        MemoryRecordStore(),
        estimate or SizeEstimate(),
        rate or RateLimit(1, 100),
        lambda: float(NOW),
    )


def _meta() -> tuple[bytes, bytes]:
    return tag_subject("jazz").encode(), meta_of(identity(2), b"song", "jazz").encoded


def _crowd(at: bytes) -> SizeEstimate:
    """What lookups in a large network around an id have found."""
    estimate = SizeEstimate()
    for number in range(64):
        close = [contact(number * 100 + each) for each in range(20)]
        estimate.found(close[19].node_id[:19] + bytes([close[19].node_id[19] ^ 1]), close, 20)
    return estimate


def test_the_rate_is_checked_before_anything_else() -> None:
    desk = _desk(rate=RateLimit(1, 1))
    assert desk.take(b"rubbish", b"rubbish", FAR_IP, 0.0) == Outcome.WRONG
    assert desk.take(*_meta(), FAR_IP, 0.0) == Outcome.BUSY
    assert desk.take(*_meta(), "127.0.0.1", 0.0) == Outcome.STORED


def test_what_belongs_elsewhere_is_refused_before_its_signature_is_looked_at() -> None:
    subject, value = _meta()
    desk = _desk(_crowd(OWN_ID))
    assert desk.take(subject, value[:-1] + b"\0", FAR_IP, 0.0) == Outcome.FAR


def test_in_a_small_network_everything_belongs_here() -> None:
    estimate = _crowd(OWN_ID)
    estimate.found(bytes(20), [contact(1)], 20)
    assert _desk(estimate).take(*_meta(), FAR_IP, 0.0) == Outcome.STORED


def test_a_provider_record_comes_from_where_its_publisher_is() -> None:
    subject = provider_subject(cid_of(b"song").multihash)
    record = create_provider_record(
        [cid_of(b"song").multihash],
        [Endpoint(FAR_IP, 7117)],
        expiry(),
        identity(2).private_key,
        NETWORK,
    )
    desk = _desk()
    assert desk.take(subject.encode(), record.encoded, "9.9.9.9", 0.0) == Outcome.WRONG
    assert desk.take(subject.encode(), record.encoded, FAR_IP, 0.0) == Outcome.STORED


def test_a_record_too_long_for_its_kind_is_wrong() -> None:
    subject = provider_subject(cid_of(b"song").multihash)
    assert _desk().take(subject.encode(), bytes(801), FAR_IP, 0.0) == Outcome.WRONG


def test_a_publisher_gets_no_more_of_a_full_key() -> None:
    desk = _desk()
    outcomes = {
        desk.take(
            tag_subject("jazz").encode(),
            meta_of(identity(2), b"%d" % number, "jazz").encoded,
            "127.0.0.1",
            0.0,
        )
        for number in range(1_100)
    }
    assert outcomes == {Outcome.STORED, Outcome.FULL}
    assert desk.records.count(tag_subject("jazz").key, NOW) == 1000


def _full_of(subject: Subject, source_ip: str, limit: int) -> StoreDesk:
    desk = _desk()
    for seed in range(100, 100 + limit):
        meta = meta_of(identity(seed), b"song", "jazz")
        desk.records.put(verified_record(subject, meta.encoded, NETWORK, NOW), source_ip, NOW)
    return desk


def test_what_a_neighbour_holds_counts_for_the_network_it_came_from() -> None:
    desk, subject = _desk(), tag_subject("jazz")
    value = meta_of(identity(2), b"song", "jazz").encoded
    assert desk.take_repaired(subject, value, "9.9.9.0", "8.8.8.8")
    record = verified_record(subject, value, NETWORK, NOW)
    [(_, network)] = desk.records.named([subject.key + record.digest], NOW)
    assert network == "9.9.9.0"


def test_a_neighbour_may_not_speak_for_networks_nearer_than_his_own() -> None:
    desk, subject = _desk(), tag_subject("jazz")
    value = meta_of(identity(2), b"song", "jazz").encoded
    assert desk.take_repaired(subject, value, "127.0.0.0", "8.8.8.8")
    record = verified_record(subject, value, NETWORK, NOW)
    [(_, network)] = desk.records.named([subject.key + record.digest], NOW)
    assert network == "8.8.8.0"


def test_into_a_full_key_a_neighbour_brings_no_more_than_its_own_network_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RULES, TAG, replace(RULES[TAG], rows_per_key=4))
    subject = tag_subject("jazz")
    desk = _full_of(subject, "8.8.8.8", 4)
    for seed in range(2, 6):  # each said to be from a network of its own
        value = meta_of(identity(seed), b"song", "jazz").encoded
        desk.take_repaired(subject, value, f"9.{seed}.0.0", "7.7.7.7")
    mine = [row for row in desk.records.rows(subject.key, NOW) if row.publisher in _keys(2, 6)]
    assert len(mine) == 2  # half, as one newcomer against one network


def test_into_a_full_store_a_neighbour_brings_no_more_than_its_own_network_may() -> None:
    desk = replace(_desk(), records=MemoryRecordStore(Usage(10, 1 << 20)))  # 4 of them tags
    subject = tag_subject("jazz")
    for seed in range(100, 104):
        meta = meta_of(identity(seed), b"song", "jazz")
        desk.records.put(verified_record(subject, meta.encoded, NETWORK, NOW), "8.8.8.8", NOW)
    for seed in range(2, 6):  # each said to be from a network of its own
        value = meta_of(identity(seed), b"song", "jazz").encoded
        desk.take_repaired(subject, value, f"9.{seed}.0.0", "7.7.7.7")
    mine = [row for row in desk.records.rows(subject.key, NOW) if row.publisher in _keys(2, 6)]
    assert len(mine) == 2  # half, as one newcomer against one network


def test_a_wrong_record_of_a_neighbour_is_refused() -> None:
    desk, (subject, value) = _desk(), _meta()
    with pytest.raises(MalformedError):
        desk.take_repaired(parse_subject(subject), value[:-1] + b"\0", "9.9.9.0", "8.8.8.8")
    assert desk.records.usage().values == 0


def _keys(first: int, last: int) -> set[bytes]:
    return {identity(seed).public_key for seed in range(first, last)}
