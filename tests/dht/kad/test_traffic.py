"""What records sent in bulk are counted for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2pfs.addresses import Endpoint
from p2pfs.dht.kad.traffic import Traffic
from p2pfs.dht.recordpages import parse_batch
from p2pfs.dht.records import tag_subject
from p2pfs.errors import UnreachableError
from tests.dht.kad.nodes import contact

ROCK, JAZZ = tag_subject("rock"), tag_subject("jazz")
ROWS = [(ROCK, b"one"), (JAZZ, b"one"), (ROCK, b"two")]


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
    assert await posting.post({contact(1): ROWS, contact(2): ROWS}) == {ROCK: 2}


@pytest.mark.parametrize("said", [(), (True,), (False,) * 2, (False,) * 9])
async def test_nothing_counts_that_a_peer_does_not_say(said: tuple[bool, ...]) -> None:
    assert await traffic(Peers(*said)).post({contact(1): ROWS}) == ({ROCK: 1} if any(said) else {})


async def test_a_peer_that_is_away_takes_nothing_from_what_others_hold() -> None:
    peers = Peers(True, True, True)
    peers.away = {contact(1).public_key}
    assert await traffic(peers).post({contact(1): ROWS, contact(2): ROWS}) == {ROCK: 1, JAZZ: 1}
