"""What records sent in bulk are counted for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.traffic import POSTS_AT_ONCE, Traffic
from p2pfs.dht.recordpages import encode_batches, parse_batch
from p2pfs.dht.subjects import tag_subject
from p2pfs.errors import UnreachableError
from tests.dht.kad.nodes import contact

ROCK, JAZZ = tag_subject("rock"), tag_subject("jazz")
ROWS = [(ROCK, b"one"), (JAZZ, b"one"), (ROCK, b"two")]
BATCHES = encode_batches(ROWS)


class Peers:
    """Each says the same of every batch, unless it is away."""

    def __init__(self, *said: bool) -> None:
        self.said = said
        self.away: set[bytes] = set()

    async def post(self, key: bytes, _address: Endpoint, batch: bytes) -> Sequence[bool]:
        if key in self.away:
            raise UnreachableError("away")
        assert len(parse_batch(batch)) == len(ROWS)
        return self.said


def traffic(peers: Peers) -> Traffic:
    return Traffic(None, None, None, None, peers.post)  # type: ignore[arg-type]  # it only posts


async def test_one_refused_record_does_not_hide_the_others_of_its_batch() -> None:
    posting = traffic(Peers(True, False, True))
    assert await posting.post({contact(1): BATCHES, contact(2): BATCHES}) == {ROCK: 2}


@pytest.mark.parametrize("said", [(), (True,), (False,) * 2, (False,) * 9])
async def test_nothing_counts_that_a_peer_does_not_say(said: tuple[bool, ...]) -> None:
    assert await traffic(Peers(*said)).post({contact(1): BATCHES}) == (
        {ROCK: 1} if any(said) else {}
    )


async def test_a_peer_that_is_away_takes_nothing_from_what_others_hold() -> None:
    peers = Peers(True, True, True)
    peers.away = {contact(1).public_key}
    assert await traffic(peers).post({contact(1): BATCHES, contact(2): BATCHES}) == {
        ROCK: 1,
        JAZZ: 1,
    }


async def test_who_takes_no_end_holds_nobody_up(autojump_clock: trio.testing.MockClock) -> None:
    under_way = most = 0

    async def post(key: bytes, _address: Endpoint, _batch: bytes) -> Sequence[bool]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await trio.sleep(3_600 if key == contact(0).public_key else 0.1)
        finally:
            under_way -= 1
        return [True] * len(ROWS)

    peers = Peers()
    peers.post = post  # type: ignore[method-assign]
    started = trio.current_time()
    wanted = {contact(number): 2 * BATCHES for number in range(100)}
    assert await traffic(peers).post(wanted) == {ROCK: 198, JAZZ: 198}
    assert 30 <= trio.current_time() - started < 32
    assert most == POSTS_AT_ONCE
