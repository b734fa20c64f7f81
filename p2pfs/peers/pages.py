"""Records in bulk: pages of what is stored here, batches to store, and what neighbours repair by.

What they look like is in `dht.recordpages`; whether a record is kept is for the overlay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs
from weakref import WeakValueDictionary

import trio

from p2pfs.addresses import client_group
from p2pfs.dht.kad.repairing import KEY_BITS, Region
from p2pfs.dht.recordpages import (
    MAX_BODY_BYTES,
    MAX_CURSOR_BYTES,
    MAX_KNOWN,
    MAX_NAMED,
    MAX_PAGE_VALUE_BYTES,
    NAME_BYTES,
    encode_held,
    encode_named,
    encode_names,
    encode_page,
    parse_known,
    split_names,
)
from p2pfs.dht.records import DIGEST_BYTES
from p2pfs.dht.subjects import KEY_BYTES, MAX_SUBJECT_BYTES, parse_subject
from p2pfs.errors import MalformedError
from p2pfs.peers.answers import Answer, read_body, whole
from p2pfs.peers.limits import Rate
from p2pfs.peers.trustless import RefusedError

if TYPE_CHECKING:
    from p2pfs.dht.recordstore import RecordStore
    from p2pfs.peers.asked import Asked

T = TypeVar("T")
Accept = Callable[[bytes, str], Awaitable[Iterable[bool]]]
"""Takes a batch of records from an IP, and says of each if it is held; raises MalformedError."""

RECORDS_PATH = "/p2pfs/v1/records"
NAMES_PATH, NAMED_PATH = "/p2pfs/v1/names", "/p2pfs/v1/named"
MISSING_PATH = "/p2pfs/v1/records/missing"
# docs/wire.md, section 8.
_BATCHES_PER_SECOND = 10
# A full one takes its reader longer to check (75 ms) than its holder to read and encode (15).  So
# many at once, since in a network of eight nodes each has one or two for each shard of a hot tag.
_PAGES_PER_SECOND, _PAGES_AT_ONCE = 10, 256
# The store has one lock, for which every datagram's answer waits behind all that read there.
_RECORD_READS = 1


class Pages:
    def __init__(
        self,
        records: RecordStore,
        accept: Accept,
        is_near: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        """`is_near`: of which IPs batches are not counted; `clock`: UNIX seconds."""
        self._records = records
        self._accept = accept
        self._is_near = is_near
        self._clock = clock
        self._batches = Rate(_BATCHES_PER_SECOND)
        self._pages = Rate(_PAGES_PER_SECOND, _PAGES_AT_ONCE)
        self._reads = trio.CapacityLimiter(_RECORD_READS)
        # While a batch of theirs is taken in, or waits for that; while something is read for them.
        self._posting = WeakValueDictionary[str, trio.Lock]()
        self._reading = WeakValueDictionary[str, trio.Lock]()

    async def answer(self, asked: Asked) -> Answer:
        asked.need_method("GET", "HEAD", "POST")
        if asked.method == "POST":
            return await self._take(asked)
        self._count(self._pages, asked.ip)
        return await self._page(asked)

    async def names(self, asked: Asked) -> Answer:
        """Which records there are under the keys that begin as a node's id does."""
        asked.need_method("GET")
        self._count(self._batches, asked.ip)
        near = _hexadecimal(asked.query, "near", KEY_BYTES)
        bits = _field(asked.query, "bits")
        is_number = bits.isdecimal() and len(bits) <= len(str(KEY_BITS))
        if len(near) != KEY_BYTES or not is_number or int(bits) > KEY_BITS:
            raise MalformedError("a region is a node's id, and how many of its bits count")
        region = Region(near, int(bits))
        cursor = _hexadecimal(asked.query, "cursor", MAX_CURSOR_BYTES)
        read = partial(self._records.names, region.first, region.last, cursor)
        page = await self._read(asked.ip, read)
        encoded = encode_names(page.names, page.next)
        return whole(HTTPStatus.OK, encoded, "application/octet-stream")

    async def named(self, asked: Asked) -> Answer:
        """The records of some names."""
        asked.need_method("POST")
        self._count(self._batches, asked.ip)
        names = split_names(await read_body(asked.receive, MAX_NAMED * NAME_BYTES))
        found = await self._read(asked.ip, partial(self._records.named, names))
        return whole(HTTPStatus.OK, encode_named(found), "application/octet-stream")

    async def _read(self, ip: str, read: Callable[[int], T]) -> T:
        """One read of a group after another, so that whoever wants many delays no other's."""
        async with self._turn(self._reading, ip):
            return await trio.to_thread.run_sync(read, int(self._clock()), limiter=self._reads)

    def _count(self, rate: Rate, ip: str) -> None:
        if not self._is_near(ip) and not rate.take(client_group(ip), trio.current_time()):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "that is asked too often")

    async def missing(self, asked: Asked) -> Answer:
        """A page without those records whose digests are in the body of the request."""
        asked.need_method("POST")
        self._count(self._pages, asked.ip)
        known = parse_known(await read_body(asked.receive, MAX_KNOWN * DIGEST_BYTES))
        return await self._page(asked, known)

    async def _page(self, asked: Asked, known: frozenset[bytes] = frozenset()) -> Answer:
        subject = parse_subject(_hexadecimal(asked.query, "subject", MAX_SUBJECT_BYTES))
        cursor = _hexadecimal(asked.query, "cursor", MAX_CURSOR_BYTES)
        encoded = await self._read(asked.ip, partial(self._encoded, subject.key, cursor, known))
        return whole(HTTPStatus.OK, encoded, "application/octet-stream")

    def _encoded(self, key: bytes, cursor: bytes, known: frozenset[bytes], now: int) -> bytes:
        page = self._records.page(key, cursor, MAX_PAGE_VALUE_BYTES, now, known)
        return encode_page([record.value for record in page.records], page.next)

    async def _take(self, asked: Asked) -> Answer:
        self._count(self._batches, asked.ip)
        length = asked.headers.get(b"content-length", b"0")
        if int(length) > MAX_BODY_BYTES:  # h11 and h2 have seen to it that it is a number
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a batch of over 256 KiB")
        batch = await read_body(asked.receive, MAX_BODY_BYTES)
        # One of a group after another: each is a third of a second's work.  Records of those under
        # way are taken in in turns, and datagrams wait for one of each.
        async with self._turn(self._posting, asked.ip):
            held = await self._accept(batch, asked.ip)
        return whole(HTTPStatus.OK, encode_held(held))

    def _turn(
        self, turns: WeakValueDictionary[str, trio.Lock], ip: str
    ) -> AbstractAsyncContextManager[None]:
        """The group's turn; those near by need not wait for each other."""
        return (
            nullcontext() if self._is_near(ip) else turns.setdefault(client_group(ip), trio.Lock())
        )


def _hexadecimal(query: bytes, name: str, max_bytes: int) -> bytes:
    """A field of the query, empty if it is missing; raises MalformedError."""
    try:
        raw = bytes.fromhex(_field(query, name))
    except ValueError as error:
        raise MalformedError(f"{name} is written in hexadecimal") from error
    if len(raw) > max_bytes:
        raise MalformedError(f"{name} is too long")
    return raw


def _field(query: bytes, name: str) -> str:
    """A field of the query, empty if it is missing; raises ValueError."""
    return parse_qs(query.decode("ascii"), max_num_fields=4).get(name, [""])[0]
