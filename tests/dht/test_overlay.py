"""Several overlays as one: each fails alone, and none waits for another."""

from __future__ import annotations

import pytest
import trio

from p2pfs.addresses import Endpoint
from p2pfs.dht.overlay import Joined, Overlay, Provider
from p2pfs.errors import NoPeersError, UnreachableError
from p2pfs.identity import Identity
from tests.dht.fakes import DictOverlay, OverlayWorld
from tests.dht.kad.nodes import cid_of, expiry
from tests.dht.overlay_suite import Join, OverlaySuite
from tests.samples import meta, public_key

SONG = cid_of(b"song")


class Failing:
    """An overlay of which every call fails, after so many seconds."""

    def __init__(self, error: Exception, seconds: float = 0) -> None:
        self.error = error
        self.seconds = seconds

    async def announce(self, *_: object) -> int:
        return await self._fail()

    async def providers(self, *_: object) -> None:
        await self._fail()

    async def publish(self, *_: object) -> int:
        return await self._fail()

    async def search(self, *_: object) -> None:
        await self._fail()

    async def _fail(self) -> int:
        await trio.sleep(self.seconds)
        raise self.error


class TestJoinedWithOneThatFails(OverlaySuite):
    @pytest.fixture
    def join(self) -> Join:
        world = OverlayWorld()

        async def join(own: Identity) -> Overlay:
            sound = world.join(own.public_key, Endpoint("127.0.0.1", 7117))
            return Joined(Failing(NoPeersError("nobody")), sound)

        return join


def two_worlds() -> tuple[DictOverlay, DictOverlay, Joined]:
    """A publisher in each of two networks, and a reader in both."""
    worlds = OverlayWorld(), OverlayWorld()
    publishers = [
        world.join(public_key(number), Endpoint("127.0.0.1", 7117 + number))
        for number, world in enumerate(worlds)
    ]
    return publishers[0], publishers[1], Joined(*(each.join(public_key(9)) for each in worlds))


async def test_what_either_knows_is_found() -> None:
    one, other, reader = two_worlds()
    await one.announce(SONG, expiry())
    await other.announce(SONG, expiry())
    found: list[Provider] = []
    await reader.providers(SONG, found.append)
    assert {each.public_key for each in found} == {public_key(0), public_key(1)}


async def test_copies_are_counted_over_all_but_a_publication_where_it_is_kept_best() -> None:
    _, _, node = two_worlds()
    assert await node.announce(SONG, expiry()) == 2
    assert await node.publish(meta()) == 1


@pytest.mark.parametrize("error", [UnreachableError("gone"), KeyError("a fault of ours")])
async def test_a_failure_is_the_failing_ones_alone(error: Exception) -> None:
    world = OverlayWorld()
    await world.join(public_key(0), Endpoint("127.0.0.1", 7117)).announce(SONG, expiry())
    joined = Joined(Failing(error), world.join(public_key(1)), Failing(error))
    found: list[Provider] = []
    await joined.providers(SONG, found.append)
    assert len(found) == 1
    assert await joined.announce(SONG, expiry()) == 1
    assert await joined.publish(meta()) == 1
    await joined.search("jazz", lambda _: None)


async def test_one_that_hangs_delays_nothing_that_others_find(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = OverlayWorld()
    await world.join(public_key(0), Endpoint("127.0.0.1", 7117)).announce(SONG, expiry())
    joined = Joined(Failing(UnreachableError("late"), 3_600), world.join(public_key(1)))
    started = trio.current_time()
    found_at: list[float] = []
    await joined.providers(SONG, lambda _: found_at.append(trio.current_time()))
    assert found_at == [started]


async def test_what_the_caller_raises_ends_the_call_while_another_hangs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    world = OverlayWorld()
    await world.join(public_key(0), Endpoint("127.0.0.1", 7117)).announce(SONG, expiry())
    joined = Joined(Failing(UnreachableError("late"), 3_600), world.join(public_key(1)))

    def found(_: Provider) -> None:
        raise UnreachableError("the caller's own")

    with pytest.raises(UnreachableError, match="own"):
        await joined.providers(SONG, found)
    assert trio.current_time() < 60


async def test_if_all_fail_it_is_told_what_happened_rather_than_what_could_not_be_tried() -> None:
    fault, refused = KeyError("a fault"), UnreachableError("gone")
    joined = Joined(Failing(fault), Failing(NoPeersError("alone")), Failing(refused))
    with pytest.raises(UnreachableError):
        await joined.announce(SONG, expiry())
    with pytest.raises(NoPeersError, match="alone"):
        await Joined(Failing(fault), Failing(NoPeersError("alone"))).announce(SONG, expiry())


async def test_without_any_nobody_could_be_asked() -> None:
    joined = Joined()
    with pytest.raises(NoPeersError):
        await joined.search("jazz", lambda _: None)
    world = OverlayWorld()
    world.join(public_key(0))
    joined.add(world.join(public_key(1)))
    await joined.search("jazz", lambda _: None)
