"""What one holder can do to a search: no more than fill its own part of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.collecting import Collection
from p2pfs.dht.kad.exchange import Heard, Holding
from p2pfs.dht.recordpages import encode_page
from p2pfs.dht.subjects import Subject, provider_subject, tag_subject
from tests.dht.kad.nodes import contact


async def from_one_holder(tell: Callable[[Holding], None]) -> Heard:
    await trio.lowlevel.checkpoint()
    tell(Holding(contact(1), (), more=9_999))
    return Heard(1, is_full=False)


def as_it_is(value: bytes, _told_by: str | None) -> bytes:
    return value


@pytest.mark.parametrize(
    ("subject", "most"),
    [(tag_subject("jazz"), 1_000), (provider_subject(b"\x12\x20" + bytes(32)), 256)],
)
async def test_of_a_holder_without_end_no_more_is_read_than_one_may_keep(
    subject: Subject, most: int
) -> None:
    pages = 0

    async def fetch_page(
        _key: bytes, _at: Endpoint, _subject: bytes, cursor: bytes, _known: bytes
    ) -> bytes:
        nonlocal pages
        await trio.lowlevel.checkpoint()
        pages += 1
        return encode_page((b"%d %d" % (pages, at) for at in range(300)), cursor + b"x")

    found: list[bytes] = []
    await Collection(subject, as_it_is, found.append, fetch_page).run(from_one_holder)
    assert len(found) == most
    assert pages == -(-most // 300)


async def test_a_holder_with_ever_another_page_is_cut_off_after_eight() -> None:
    pages = 0

    async def fetch_page(*_: object) -> bytes:
        nonlocal pages
        await trio.lowlevel.checkpoint()
        pages += 1
        return encode_page((b"%d" % pages,), b"%d" % pages)

    collection = Collection(tag_subject("jazz"), as_it_is, lambda _: None, fetch_page)
    await collection.run(from_one_holder)
    assert pages == 8


async def test_a_holder_that_dawdles_ends_no_later_than_half_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def fetch_page(*_: object) -> bytes:
        return await trio.sleep_forever()

    started = trio.current_time()
    collection = Collection(tag_subject("jazz"), as_it_is, print, fetch_page)
    await collection.run(from_one_holder)
    assert trio.current_time() - started == 30
