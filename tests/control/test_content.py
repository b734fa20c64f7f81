"""What the command line asks of contents."""

from __future__ import annotations

import trio
import trio.testing

from p2pfs.control.asked import Several, Wanted
from p2pfs.control.calls import Answering, Nothing
from p2pfs.control.content import content_endpoints
from tests.library.test_reading import reading_of
from tests.transfer.fakes import KIB, FakeClient, FakePeer, file_of

SMALL = [file_of(300 * KIB + number)[0] for number in range(40)]


async def test_small_files_are_brought_together_and_one_that_nobody_has_stops_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    missing, _ = file_of(299 * KIB)
    client = FakeClient(SMALL[0], a=FakePeer(latency=0.05))
    for dag in SMALL[1:]:
        client.add(dag)
    async with reading_of(client, missing, *SMALL) as (reading, store):
        bring = content_endpoints(reading)["bring"]
        assert isinstance(bring, Answering)
        started = trio.current_time()
        wanted = [Wanted(str(dag.root), dag.size) for dag in (missing, *SMALL)]
        assert await bring.answer(Several(wanted)) == Nothing()
        assert trio.current_time() - started < 40 * 0.05
        assert all(store.objects[dag.root].checked.covers(0, dag.size) for dag in SMALL)
    assert not store.open_now
