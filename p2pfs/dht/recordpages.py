"""Records in bulk over HTTPS: pages that are answered, batches that are stored, names.  Pure.

Each is a canonical DAG-CBOR map whose unknown keys are ignored.  Values come out as they came in:
whoever reads a page hands every one to `records.verified`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from p2pfs.addresses import canonical_ip
from p2pfs.content import dag_cbor
from p2pfs.content.metainfo import MAX_META_BYTES
from p2pfs.content.signedmap import list_field
from p2pfs.dht.records import DIGEST_BYTES
from p2pfs.dht.subjects import KEY_BYTES, Subject, subject_of
from p2pfs.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from p2pfs.content.dag_cbor import Value
    from p2pfs.dht.records import Record

# 256 KiB: what one POST may bring, and a page holds at most.
MAX_BODY_BYTES = 256 * 1024
# What the values of a page may come to, so that with their framing it stays below that.
MAX_PAGE_VALUE_BYTES = 240 * 1024
# Each value costs a signature's check (150 µs), so a batch costs 40 ms at most.
MAX_BATCH_VALUES = 256
# And each of its subjects a row (40 µs), so these cost as much again.
MAX_BATCH_ROWS = 1_024
# A meta-info has one subject for each of 16 tags and 8 words, and its root.
MAX_SUBJECTS_PER_VALUE = 32
# A reader of a key may know all that another holder has: more than any key holds.
MAX_KNOWN = 2_048
# Opaque to whom it is given; a key (20 bytes), and a place in the order of its slots (64 + 2).
MAX_CURSOR_BYTES = 96
# The key of a record and the digest of its value.
NAME_BYTES = KEY_BYTES + DIGEST_BYTES
# As many records as a page is sure to hold.
MAX_NAMED = 192
# No signed map is below 64 bytes, so a page cannot hold more of them.
_MAX_PAGE_VALUES = 4_096
_MAX_VALUE_BYTES = MAX_META_BYTES


@dataclass(frozen=True, slots=True)
class Page:
    """Unverified values, or names, that were asked for, and where the next page begins."""

    values: tuple[bytes, ...]
    next: bytes | None


def encode_page(values: Iterable[bytes], next_cursor: bytes | None) -> bytes:
    """`{"values": […]}`, and `"next"` unless it is the last."""
    fields: dict[str, Value] = {"values": list(values)}
    if next_cursor is not None:
        fields["next"] = next_cursor
    return dag_cbor.encode(fields)


def parse_known(raw: bytes) -> frozenset[bytes]:
    """The digests of what a reader has, one after the other; raises MalformedError."""
    if len(raw) % DIGEST_BYTES or len(raw) > MAX_KNOWN * DIGEST_BYTES:
        raise MalformedError(f"at most {MAX_KNOWN} digests of {DIGEST_BYTES} bytes each")
    return frozenset(raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))


def parse_page(raw: bytes) -> Page:
    """A page of a peer; raises MalformedError."""
    fields = _map(raw)
    values = tuple(_value(item) for item in list_field(fields, "values", _MAX_PAGE_VALUES))
    return Page(values, _cursor(fields))


def encode_batches(records: Iterable[tuple[Subject, bytes]]) -> list[bytes]:
    """`{"records": [[value, [subject, …]], …]}`, as many as it takes, each value once in one."""
    subjects: dict[bytes, dict[Subject, None]] = {}
    for subject, value in records:
        subjects.setdefault(value, {})[subject] = None
    batches: list[bytes] = []
    entries: list[Value] = []
    length, rows = _FRAME_BYTES, 0
    for value, about in subjects.items():
        for entry, entry_rows in _entries(value, list(about)):
            entry_length = len(dag_cbor.encode(entry))
            if entries and (
                length + entry_length > MAX_BODY_BYTES
                or len(entries) == MAX_BATCH_VALUES
                or rows + entry_rows > MAX_BATCH_ROWS
            ):
                batches.append(dag_cbor.encode({"records": entries}))
                entries, length, rows = [], _FRAME_BYTES, 0
            entries.append(entry)
            length, rows = length + entry_length, rows + entry_rows
    if entries:
        batches.append(dag_cbor.encode({"records": entries}))
    return batches


def parse_batch(raw: bytes) -> list[tuple[Subject, bytes]]:
    """The subjects and unverified values that a peer wants stored; raises MalformedError."""
    found: list[tuple[Subject, bytes]] = []
    for entry in list_field(_map(raw), "records", MAX_BATCH_VALUES):
        if not isinstance(entry, list) or len(entry) != _ENTRY_ITEMS:
            raise MalformedError("a record is its value and its subjects")
        value, subjects = entry
        if not isinstance(subjects, list) or len(subjects) > MAX_SUBJECTS_PER_VALUE:
            raise MalformedError(f"a value has at most {MAX_SUBJECTS_PER_VALUE} subjects")
        if len(found) + len(subjects) > MAX_BATCH_ROWS:
            raise MalformedError(f"a batch stores at most {MAX_BATCH_ROWS} rows")
        found += [(subject_of(subject), _value(value)) for subject in subjects]
    return found


def encode_held(held: Iterable[bool]) -> bytes:
    """A digit for each row of a batch, in its order: 1 if the record is held now, else 0."""
    return "".join(str(int(each)) for each in held).encode()


def parse_held(raw: bytes) -> list[bool]:
    """Which rows of a batch a peer says it holds; raises MalformedError."""
    if len(raw) > MAX_BATCH_ROWS or raw.strip(b"01"):
        raise MalformedError("what became of a batch is said in ones and noughts")
    return [digit == ord("1") for digit in raw]


def encode_names(names: Iterable[bytes], next_cursor: bytes | None) -> bytes:
    """`{"names": key | digest | key | digest…}`, and `"next"` unless it is the last."""
    fields: dict[str, Value] = {"names": b"".join(names)}
    if next_cursor is not None:
        fields["next"] = next_cursor
    return dag_cbor.encode(fields)


def parse_names(raw: bytes) -> Page:
    """The names (28 bytes each) that a peer says it has; raises MalformedError."""
    fields = _map(raw)
    return Page(split_names(fields.get("names")), _cursor(fields))


def split_names(joined: object) -> tuple[bytes, ...]:
    """Names one after another; raises MalformedError."""
    if not isinstance(joined, bytes) or len(joined) % NAME_BYTES:
        raise MalformedError(f"names are {NAME_BYTES} bytes each")
    return tuple(joined[at : at + NAME_BYTES] for at in range(0, len(joined), NAME_BYTES))


def encode_named(records: Iterable[tuple[Record, str]]) -> bytes:
    """`{"records": [[value, subject, network], …]}`, as many as a page holds."""
    entries: list[Value] = []
    length = _FRAME_BYTES
    for record, network_ip in records:
        subject: Value = [record.subject.kind, *record.subject.parts]
        entry: Value = [record.value, subject, ip_address(network_ip).packed]
        length += len(dag_cbor.encode(entry))
        if length > MAX_BODY_BYTES:
            break
        entries.append(entry)
    return dag_cbor.encode({"records": entries})


def parse_named(raw: bytes) -> list[tuple[Subject, bytes, str]]:
    """Subjects, unverified values, and addresses in the networks they came from; MalformedError."""
    found: list[tuple[Subject, bytes, str]] = []
    for entry in list_field(_map(raw), "records", MAX_NAMED):
        if not isinstance(entry, list) or len(entry) != _NAMED_ITEMS:
            raise MalformedError("a record is its value, its subject and its network")
        value, subject, packed = entry
        if not isinstance(packed, bytes):
            raise MalformedError("a network's address is bytes")
        found.append((subject_of(subject), _value(value), canonical_ip(packed)))
    return found


# `{"records": [` with the widest head that a list of this many has.
_FRAME_BYTES = 16
_ENTRY_ITEMS = 2
_NAMED_ITEMS = 3


def _entries(value: bytes, about: list[Subject]) -> Iterable[tuple[list[Value], int]]:
    for start in range(0, len(about), MAX_SUBJECTS_PER_VALUE):
        chosen = about[start : start + MAX_SUBJECTS_PER_VALUE]
        yield [value, [[subject.kind, *subject.parts] for subject in chosen]], len(chosen)


def _map(raw: bytes) -> dict[str, Value]:
    if len(raw) > MAX_BODY_BYTES:
        raise MalformedError(f"{len(raw)} bytes, and at most {MAX_BODY_BYTES} are allowed")
    fields = dag_cbor.decode(raw)
    if not isinstance(fields, dict):
        raise MalformedError("not a map")
    return fields


def _cursor(fields: Mapping[str, Value]) -> bytes | None:
    cursor = fields.get("next")
    if cursor is not None and not (
        isinstance(cursor, bytes) and 0 < len(cursor) <= MAX_CURSOR_BYTES
    ):
        raise MalformedError("not a cursor")
    return cursor


def _value(item: object) -> bytes:
    if not isinstance(item, bytes) or len(item) > _MAX_VALUE_BYTES:
        raise MalformedError("a record's value is bytes, and not so many")
    return item
