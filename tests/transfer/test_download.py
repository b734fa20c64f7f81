from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from p2pfs.content.cid import DAG_PB
from p2pfs.content.intervals import Intervals
from p2pfs.content.walk import leaves
from p2pfs.errors import (
    IntegrityError,
    NoPeersError,
    NoProvidersError,
    NoSpaceError,
    P2pfsError,
    UnreachableError,
)
from p2pfs.identity import OwnKey
from p2pfs.transfer.download import Download, Means
from p2pfs.transfer.slots import Slots
from tests.transfer.fakes import (
    KIB,
    MIB,
    FakeClient,
    FakeCopies,
    FakeObject,
    FakeOverlay,
    FakePeer,
    FakeRoom,
    file_of,
    providers,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from p2pfs.content.cid import Cid
    from tests.content.dags import Dag

CHUNK = 256 * KIB


def means(
    client: FakeClient,
    nursery: trio.Nursery,
    slots: Slots | None = None,
    room: FakeRoom | None = None,
    copies: FakeCopies | None = None,
    strays: FakeOverlay | None = None,
) -> Means:
    own = OwnKey(bytes(32))
    copies, strays = copies or FakeCopies(), strays or FakeOverlay()
    return Means(client, slots or Slots(), room or FakeRoom(), copies, nursery, own, strays.of)


@asynccontextmanager
async def downloading(  # noqa: PLR0913 by keyword, each with a default
    client: FakeClient,
    dag: Dag,
    *,
    overlay: FakeOverlay | None = None,
    names: list[str] | None = None,
    slots: Slots | None = None,
    room: FakeRoom | None = None,
    copies: FakeCopies | None = None,
    strays: FakeOverlay | None = None,
) -> AsyncIterator[tuple[Download, FakeObject]]:
    held = FakeObject(dag)
    overlay = overlay or FakeOverlay()
    async with trio.open_nursery() as nursery:
        find = partial(overlay.providers, dag.root)
        download = Download(held, find, means(client, nursery, slots, room, copies, strays))
        for provider in providers(client, *names) if names is not None else providers(client):
            download.add_provider(provider)
        try:
            yield download, held
        finally:
            download.close()
            await download.wait_ended()


async def read_through(
    download: Download, held: FakeObject, content: bytes, window: int = 8 * MIB
) -> None:
    """Read all of a file in sequence, as the library does."""
    for start in range(0, held.size, 128 * KIB):
        stop = min(start + 128 * KIB, held.size)
        download.prefetch("reader", [(stop, min(stop + window, held.size))])
        await download.wait(start, stop)
        assert held.content[start:stop] == content[start:stop]


async def test_three_peers_share_the_work(autojump_clock: trio.testing.MockClock) -> None:
    dag, content = file_of(64 * MIB)
    client = FakeClient(dag, a=FakePeer(), b=FakePeer(), c=FakePeer())
    async with downloading(client, dag) as (download, held):
        started = trio.current_time()
        await read_through(download, held, content, 32 * MIB)
        assert trio.current_time() - started < 0.9  # 50 MiB/s from each of three, or more
    for peer in client.peers.values():
        assert peer.sent > 0.2 * dag.size
    assert sum(peer.sent for peer in client.peers.values()) < 1.02 * dag.size


async def test_requests_to_a_peer_far_away_overlap(autojump_clock: trio.testing.MockClock) -> None:
    dag, content = file_of(64 * MIB)
    client = FakeClient(dag, a=FakePeer(latency=0.05))
    async with downloading(client, dag) as (download, held):
        started = trio.current_time()
        await read_through(download, held, content, 32 * MIB)
        assert trio.current_time() - started < 64 / 50  # one request at a time: 34 MiB/s
    assert client.peers[providers(client)[0].public_key].most_under_way in {3, 4}


async def test_the_first_request_of_a_blocked_reader_is_one_leaf(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(64 * MIB)
    client = FakeClient(dag, a=FakePeer(rate=1 * MIB))
    async with downloading(client, dag) as (download, _):
        await download.wait(40 * MIB + 5, 40 * MIB + 6)
        assert trio.current_time() < 0.5
    (peer,) = client.peers.values()
    assert peer.requests == [(40 * MIB, 40 * MIB + CHUNK)]


async def test_nothing_waits_for_a_lookup_when_a_provider_is_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client = FakeClient(dag, a=FakePeer(rate=4 * MIB), b=FakePeer(rate=50 * MIB))
    overlay = FakeOverlay(providers(client), seconds=1.0)
    async with downloading(client, dag, overlay=overlay, names=["a"]) as (download, held):
        started = trio.current_time()
        await download.wait(0, 1)
        assert trio.current_time() - started < 0.1
        await read_through(download, held, content)
        assert trio.current_time() - started < 3
    assert overlay.lookups == 1
    assert client.peers[providers(client, "b")[0].public_key].sent > 8 * MIB


async def test_a_small_read_from_a_known_provider_costs_no_lookup(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(16 * MIB)
    client = FakeClient(dag, a=FakePeer())
    overlay = FakeOverlay()
    async with downloading(client, dag, overlay=overlay) as (download, _):
        await download.wait(0, MIB)
    assert overlay.lookups == 0


async def test_without_a_known_provider_the_first_found_is_asked_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client = FakeClient(dag, a=FakePeer())
    overlay = FakeOverlay(providers(client), seconds=0.2)
    held = FakeObject(dag)
    async with trio.open_nursery() as nursery:
        find = partial(overlay.providers, dag.root)
        download = Download(held, find, means(client, nursery))
        started = trio.current_time()
        await download.wait(0, 10)
        assert trio.current_time() - started < 0.3
        download.close()


async def test_a_peer_killed_in_mid_read_is_replaced_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(32 * MIB)
    client = FakeClient(dag, a=FakePeer(), b=FakePeer())
    async with downloading(client, dag) as (download, held):
        download.prefetch("reader", [(0, dag.size)])
        await download.wait(0, 4 * MIB)
        client.peers[providers(client, "a")[0].public_key].is_gone = True
        started = trio.current_time()
        await read_through(download, held, content)
        assert trio.current_time() - started < 1
        assert "connection" in download.last_error


async def test_a_peer_that_lies_is_dropped_and_others_deliver(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client = FakeClient(dag, bad=FakePeer(lies_from=0), good=FakePeer())
    async with downloading(client, dag) as (download, held):
        await read_through(download, held, content)
        assert "does not match" in download.last_error
    bad = providers(client, "bad")[0].public_key
    assert client.ledger.stats(bad).wrong >= 1
    assert client.peers[bad].sent < 2 * MIB


async def test_only_lying_peers_are_an_integrity_error_quickly(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(16 * MIB)
    client = FakeClient(dag, a=FakePeer(lies_from=MIB), b=FakePeer(lies_from=0))
    async with downloading(client, dag) as (download, held):
        await download.wait(0, MIB)
        with pytest.raises(IntegrityError, match="does not match"):
            await download.wait(2 * MIB, 3 * MIB)
        assert trio.current_time() < 2
        assert not held.checked.overlaps(MIB, dag.size)


async def test_a_silent_peer_is_overtaken_long_before_it_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client = FakeClient(dag, mute=FakePeer(is_silent=True), good=FakePeer())
    async with downloading(client, dag) as (download, held):
        started = trio.current_time()
        await read_through(download, held, content)
        assert trio.current_time() - started < 3
    mute = client.peers[providers(client, "mute")[0].public_key]
    assert sum(stop - start for start, stop in mute.requests) < 4 * MIB


async def test_a_peer_that_falls_silent_is_overtaken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(32 * MIB)
    client = FakeClient(dag, a=FakePeer(), b=FakePeer())
    async with downloading(client, dag) as (download, held):
        download.prefetch("reader", [(0, dag.size)])
        await download.wait(0, 8 * MIB)
        client.peers[providers(client, "a")[0].public_key].is_silent = True
        started = trio.current_time()
        await read_through(download, held, content)
        assert trio.current_time() - started < 3


async def test_only_unreachable_peers_are_an_error_after_a_few_tries(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client = FakeClient(dag, a=FakePeer(is_gone=True))
    async with downloading(client, dag) as (download, _):
        with pytest.raises(UnreachableError, match="refused"):
            await download.wait(0, 1)
        assert trio.current_time() < 5
        with pytest.raises(UnreachableError):  # at once: it was tried a moment ago
            await download.wait(0, 1)
        client.peers[providers(client)[0].public_key].is_gone = False
        await trio.sleep(30)
        await download.wait(0, 1)


async def test_nobody_who_has_it_is_an_error_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client = FakeClient(dag, a=FakePeer(lacks=True))
    async with downloading(client, dag) as (download, _):
        with pytest.raises(NoProvidersError, match="any more"):
            await download.wait(0, 1)
    held = FakeObject(dag)
    for overlay, kind in (
        (FakeOverlay(), NoProvidersError),
        (FakeOverlay(error=NoPeersError("nobody could be asked")), NoPeersError),
    ):
        async with trio.open_nursery() as nursery:
            find = partial(overlay.providers, dag.root)
            download = Download(held, find, means(client, nursery))
            with pytest.raises(kind):
                await download.wait(0, 1)
            download.close()


async def test_a_busy_peer_is_asked_again_when_it_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client = FakeClient(dag, a=FakePeer(is_busy=True))
    (peer,) = client.peers.values()
    async with downloading(client, dag) as (download, _), trio.open_nursery() as nursery:
        nursery.start_soon(download.wait, 0, 1)
        await trio.sleep(10.1)
        assert len(peer.requests) <= 12
        peer.is_busy = False


async def test_what_is_on_disk_is_hashed_and_not_fetched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client = FakeClient(dag, a=FakePeer())
    async with downloading(client, dag) as (download, held):
        await held.keep_nodes(
            [(cid, block) for cid, block in dag.blocks.items() if cid.codec != 85]
        )
        held.content[:] = content
        held.present.add(0, dag.size)
        await read_through(download, held, content)
    (peer,) = client.peers.values()
    assert not peer.requests


async def test_what_is_wrong_on_disk_is_fetched_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client = FakeClient(dag, a=FakePeer())
    async with downloading(client, dag) as (download, held):
        await held.keep_nodes(
            [(cid, block) for cid, block in dag.blocks.items() if cid.codec != 85]
        )
        held.content[:] = content
        held.content[5 * MIB] ^= 1
        held.present.add(0, dag.size)
        await read_through(download, held, content)
    (peer,) = client.peers.values()
    assert peer.requests == [(5 * MIB, 5 * MIB + CHUNK)]


async def test_a_reader_that_goes_away_leaves_nothing_wrong(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client = FakeClient(dag, a=FakePeer(rate=MIB))
    async with downloading(client, dag) as (download, held):
        with trio.move_on_after(0.1):
            await download.wait(0, 4 * MIB)
        with trio.move_on_after(0.1):
            await download.wait(8 * MIB, 9 * MIB)
        client.peers[providers(client)[0].public_key].rate = 50 * MIB
        await read_through(download, held, content)


async def test_closing_cancels_requests_and_fails_readers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(16 * MIB)
    client = FakeClient(dag, a=FakePeer(rate=MIB))
    slots = Slots()

    async def blocked(download: Download) -> None:
        with pytest.raises(P2pfsError, match="closed"):
            await download.wait(0, 4 * MIB)

    async with (
        downloading(client, dag, slots=slots) as (download, _),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(blocked, download)
        await trio.testing.wait_all_tasks_blocked()
        download.close()
        with pytest.raises(P2pfsError, match="closed"):
            await download.wait(0, 1)
    (peer,) = client.peers.values()
    assert peer.under_way == 0
    assert slots.free(providers(client)[0].public_key, 2, urgent=True) == 2


async def test_a_full_disk_fails_who_waits_and_blames_no_peer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client = FakeClient(dag, a=FakePeer())
    async with downloading(client, dag) as (download, held):
        held.is_full = True
        with pytest.raises(NoSpaceError):
            await download.wait(0, 1)
        held.is_full = False
        await download.wait(0, 1)
        assert download.peers[0].last_error is None


async def test_one_files_read_ahead_does_not_delay_anothers_reader(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(64 * MIB)
    client = FakeClient(dag, a=FakePeer(rate=10 * MIB))
    slots = Slots()
    async with downloading(client, dag, slots=slots) as (hog, _):
        hog.prefetch("reader", [(0, dag.size)])
        await trio.sleep(1)
        other, _ = file_of(8 * MIB)
        client.add(other)
        async with downloading(client, other, slots=slots) as (download, _):
            started = trio.current_time()
            await download.wait(0, 1)
            assert trio.current_time() - started < 0.1


async def test_made_up_providers_do_not_hide_the_real_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    made_up = {f"z{number}": FakePeer(is_gone=True) for number in range(60)}
    client = FakeClient(dag, **made_up, real=FakePeer())
    overlay = FakeOverlay(providers(client))
    async with downloading(client, dag, overlay=overlay, names=[]) as (download, _):
        for _attempt in range(3):
            with suppress(UnreachableError):
                await download.wait(0, 1)
                return
            await trio.sleep(6)
    pytest.fail("the real one was never asked")


async def test_without_room_only_what_a_reader_waits_for_is_fetched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(8 * MIB)
    client = FakeClient(dag, a=FakePeer())
    async with downloading(client, dag, room=FakeRoom(is_tight=True)) as (download, held):
        download.prefetch("reader", [(CHUNK, 4 * MIB)])
        await trio.sleep(1)
        assert not held.present
        assert not held.presence.windows  # else it would be tried for ever
        await download.wait(0, CHUNK)
        assert held.checked.covers(0, CHUNK)


async def test_a_full_disk_is_tried_again_when_the_cache_gave_something_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(1 * MIB)
    client = FakeClient(dag, a=FakePeer())
    room = FakeRoom()
    async with downloading(client, dag, room=room) as (download, held):
        held.is_full = True
        with pytest.raises(NoSpaceError):
            await download.wait(0, CHUNK)
        assert room.freed
        room.frees = held
        await download.wait(0, CHUNK)
        assert held.checked.covers(0, CHUNK)


async def test_peers_with_parts_are_found_out_and_used(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    half = Intervals([(0, 8 * MIB)])
    client = FakeClient(dag, part=FakePeer(holds=half), all=FakePeer(rate=4 * MIB))
    async with downloading(client, dag) as (download, held):
        await read_through(download, held, content)
        sent = {peer.key[:4].rstrip(b"."): peer.fetched_bytes for peer in download.peers}
    assert sent[b"part"] > 4 * MIB
    assert sent[b"part"] + sent[b"all"] == 16 * MIB


async def test_what_a_peer_gets_meanwhile_is_taken_from_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(8 * MIB)
    holds = Intervals([(0, MIB)])
    client = FakeClient(dag, part=FakePeer(holds=holds), gone=FakePeer(rate=MIB // 4))
    async with downloading(client, dag) as (download, held), trio.open_nursery() as nursery:

        async def fill() -> None:
            for start in range(MIB, 8 * MIB, MIB):
                await trio.sleep(0.5)
                holds.add(start, start + MIB)

        nursery.start_soon(fill)
        await read_through(download, held, content)
        sent = {peer.key[:4]: peer.fetched_bytes for peer in download.peers}
    assert sent[b"part"] > 4 * MIB


async def test_a_reader_fails_when_only_other_parts_are_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(8 * MIB)
    client = FakeClient(dag, part=FakePeer(holds=Intervals([(0, MIB)])))
    async with downloading(client, dag) as (download, _):
        await download.wait(0, 1)
        with pytest.raises(NoProvidersError):
            await download.wait(4 * MIB, 4 * MIB + 1)


async def test_a_peer_is_asked_once_at_a_time_what_it_has_and_a_reader_does_not_wait_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(8 * MIB)
    part = FakePeer(latency=1.0, holds=Intervals([(0, MIB)]))
    client = FakeClient(dag, part=part)
    async with downloading(client, dag) as (download, _), trio.open_nursery() as nursery:

        async def read(at: int) -> None:
            with pytest.raises(NoProvidersError):
                await download.wait(at, at + 1)

        nursery.start_soon(read, 4 * MIB)
        await trio.sleep(0.5)
        nursery.start_soon(read, 6 * MIB)  # refused while the peer is asked for what it has
    assert part.most_asked == 1
    assert trio.current_time() < 10


async def test_leaves_that_another_content_holds_are_copied(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client = FakeClient(dag, a=FakePeer(), b=FakePeer())
    copies = FakeCopies(leaves_of(dag, 2 * MIB, 13 * MIB))
    async with downloading(client, dag, copies=copies) as (download, held):
        await read_through(download, held, content)
        assert held.content == content
    sent = sum(peer.sent for peer in client.peers.values())
    assert sent < 5 * MIB + CHUNK  # and the nodes
    assert copies.reads == 11 * MIB // CHUNK
    assert len(copies.seeks) == 1
    assert copies.seeks[0] <= 16 * MIB // CHUNK


async def test_a_file_whose_blocks_are_all_here_needs_no_peer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client, overlay = FakeClient(dag), FakeOverlay(error=NoPeersError("alone"))
    copies = FakeCopies(leaves_of(dag, 0, dag.size))
    async with downloading(client, dag, copies=copies, overlay=overlay) as (download, held):
        await keep_all_nodes(held, dag)
        await read_through(download, held, content)
    assert not overlay.lookups


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_copy_that_is_wrong_or_late_is_asked_of_a_peer(
    autojump_clock: trio.testing.MockClock, is_slow: bool
) -> None:
    dag, content = file_of(MIB)
    client, copies = FakeClient(dag, a=FakePeer()), FakeCopies(leaves_of(dag, 0, MIB))
    copies.rotten = set() if is_slow else set(copies.blocks)
    copies.read_seconds = 1000.0 if is_slow else 0.001
    async with downloading(client, dag, copies=copies) as (download, held):
        await keep_all_nodes(held, dag)
        with trio.fail_after(1.5):
            await download.wait(0, CHUNK)
        assert held.content[:CHUNK] == content[:CHUNK]


async def test_a_disk_that_hangs_is_waited_for_once_and_asked_again_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client, copies = FakeClient(dag, a=FakePeer()), FakeCopies(leaves_of(dag, 0, 16 * MIB))
    copies.read_seconds = 1000.0
    async with downloading(client, dag, copies=copies) as (download, held):
        await keep_all_nodes(held, dag)
        with trio.fail_after(3):
            await read_through(download, held, content)
        sent = client.peers[b"a".ljust(32, b".")].sent
        await trio.sleep(60)
        copies.read_seconds = 0.001
        held.checked.remove(0, MIB)
        held.presence.remove(0, MIB)
        await download.wait(0, MIB)
        assert client.peers[b"a".ljust(32, b".")].sent == sent


async def test_nobody_waits_long_to_hear_that_nothing_is_here(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(MIB)
    client, copies = FakeClient(dag, a=FakePeer()), FakeCopies()
    copies.seek_seconds = 1000.0
    async with downloading(client, dag, copies=copies) as (download, held):
        await keep_all_nodes(held, dag)
        with trio.fail_after(0.5):
            await download.wait(0, MIB)
        assert held.content == content


async def test_a_copy_of_another_length_than_is_said_is_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(MIB)
    client, copies = FakeClient(dag, a=FakePeer()), FakeCopies(leaves_of(dag, 0, MIB))
    copies.blocks = {cid: block[1:] for cid, block in copies.blocks.items()}
    async with downloading(client, dag, copies=copies) as (download, held):
        await keep_all_nodes(held, dag)
        await download.wait(0, MIB)
        assert held.content == content


async def test_what_was_copied_and_evicted_is_copied_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client, copies = FakeClient(dag), FakeCopies(leaves_of(dag, 0, MIB))
    async with downloading(client, dag, copies=copies) as (download, held):
        await keep_all_nodes(held, dag)
        for _ in range(2):
            await download.wait(0, MIB)
            held.checked.remove(0, CHUNK)
            held.presence.remove(0, CHUNK)
    assert copies.reads == MIB // CHUNK + 1


async def test_copies_get_only_the_room_that_there_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(4 * MIB)
    client, copies = FakeClient(dag), FakeCopies(leaves_of(dag, 0, dag.size))
    room = FakeRoom(is_tight=True)
    async with downloading(client, dag, copies=copies, room=room) as (download, held):
        await keep_all_nodes(held, dag)
        download.prefetch("reader", [(MIB, 2 * MIB)])
        await download.wait(0, CHUNK)
        await trio.sleep(1)
        assert held.present.total() == CHUNK


def leaves_of(dag: Dag, start: int, stop: int) -> dict[Cid, bytes]:
    """The raw leaves of a range."""
    found = leaves(dag.root, dag.size, start, stop, dag.lookup)
    return {leaf.cid: dag.blocks[leaf.cid] for leaf in found}


async def keep_all_nodes(held: FakeObject, dag: Dag) -> None:
    await held.keep_nodes([(cid, dag.blocks[cid]) for cid in dag.blocks if cid.codec == DAG_PB])


async def test_where_nothing_was_found_peers_are_asked_while_more_is_looked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(96 * MIB)
    client, copies = FakeClient(dag, a=FakePeer()), FakeCopies()
    async with downloading(client, dag, copies=copies) as (download, held):
        await keep_all_nodes(held, dag)
        await download.wait(0, CHUNK)
        copies.seek_seconds = 1000.0
        with trio.fail_after(0.05):
            await download.wait(80 * MIB, 80 * MIB + CHUNK)
    assert len(copies.seeks) == 2


async def test_a_patient_one_comes_after_readers_and_what_they_want_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(64 * MIB)
    client = FakeClient(dag, a=FakePeer(rate=10 * MIB))
    async with downloading(client, dag) as (download, held), trio.open_nursery() as nursery:
        nursery.start_soon(download.wait_patiently, 32 * MIB, 64 * MIB, 64 * MIB)
        await trio.sleep(0.5)
        before = held.present.total()
        assert before
        download.prefetch("reader", [(MIB, 4 * MIB)])
        started = trio.current_time()
        await download.wait(0, MIB)
        assert trio.current_time() - started < 0.5
        await download.wait(MIB, 4 * MIB)
        assert held.present.total() - before < 8 * MIB
    assert held.content[32 * MIB :] == content[32 * MIB :]


async def test_a_patient_one_hears_that_nobody_has_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(MIB)
    client, overlay = FakeClient(dag), FakeOverlay()
    async with downloading(client, dag, overlay=overlay) as (download, _):
        with pytest.raises(NoProvidersError):
            await download.wait_patiently(0, CHUNK, MIB)
    assert overlay.lookups == 1


async def test_a_patient_one_gets_room_like_a_reader(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(4 * MIB)
    client = FakeClient(dag, a=FakePeer())
    async with downloading(client, dag, room=FakeRoom(is_tight=True)) as (download, held):
        await download.wait_patiently(0, MIB, 4 * MIB)
        assert held.content[:MIB] == content[:MIB]


async def test_chunks_that_nobody_with_the_file_gives_come_from_who_has_them_otherwise(
    autojump_clock: trio.testing.MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.05  # chunks are written in threads, in real time
    dag, content = file_of(2 * MIB)
    client = FakeClient(dag, gone=FakePeer(is_gone=True), other=FakePeer())
    strays = FakeOverlay(providers(client, "other"))
    async with downloading(client, dag, names=["gone"], strays=strays) as (download, held):
        await keep_all_nodes(held, dag)
        with trio.fail_after(30):
            await download.wait(0, 2 * MIB)
        assert held.content == content
    assert strays.lookups <= 8
    assert not client.peers[b"other".ljust(32, b".")].requests  # not asked for the file


async def test_while_somebody_with_the_file_gives_no_chunk_is_looked_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, content = file_of(16 * MIB)
    client, strays = FakeClient(dag, a=FakePeer(), b=FakePeer(latency=0.3)), FakeOverlay()
    async with downloading(client, dag, strays=strays) as (download, held):
        await read_through(download, held, content)
    assert not strays.lookups


async def test_a_reader_hears_of_the_file_when_its_chunks_are_nowhere_else_either(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(2 * MIB)
    client, strays = FakeClient(dag, gone=FakePeer(is_gone=True)), FakeOverlay()
    async with downloading(client, dag, strays=strays) as (download, held):
        await keep_all_nodes(held, dag)
        for _ in range(2):
            with pytest.raises(UnreachableError), trio.fail_after(30):
                await download.wait(0, CHUNK)
    assert strays.lookups == 1


async def test_chunks_that_got_no_room_are_no_hope_for_the_next_reader(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dag, _ = file_of(2 * MIB)
    client, room = FakeClient(dag, gone=FakePeer(is_gone=True)), FakeRoom()
    async with downloading(client, dag, room=room) as (download, held):
        await keep_all_nodes(held, dag)
        with pytest.raises(UnreachableError):  # by now nobody is left but who has the chunks
            await download.wait(4 * CHUNK, 5 * CHUNK)
        room.is_tight = True
        with trio.CancelScope() as reader:  # gone before its chunk has room
            reader.cancel()
            await download.wait(0, CHUNK)
        await trio.testing.wait_all_tasks_blocked()
        room.is_tight = False
        with pytest.raises(UnreachableError), trio.fail_after(60):
            await download.wait(0, CHUNK)
