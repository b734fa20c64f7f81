from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.exchange import Holding, gather
from p2pfs.dht.kad.referrals import parse_referral, parse_referrals
from p2pfs.dht.kad.wire import Find, Get, Reply
from p2pfs.dht.subjects import Subject, tag_subject
from tests.sim.adversaries import (
    Colluders,
    Misroute,
    answer_falsely,
    boast,
    churn,
    corrupt,
    crash,
    endless_page,
    endless_records,
    ground_identities,
    misplace,
    neighbour_with_nobody,
    others,
)
from tests.sim.records import publish, search, some_subject
from tests.sim.world import World


@pytest.fixture(scope="module")
def grown() -> Iterator[World]:
    """A world of 24 nodes; each test that changes some takes others."""
    world = World(7, k=8)
    world.run(world.grow(24, settle=20))
    yield world
    world.close()


def test_colluders_name_the_nearest_of_themselves_and_nobody_else(grown: World) -> None:
    crowd = Colluders(grown.nodes[:6])
    key, asker = grown.nodes[9].node_id, grown.nodes[2]
    reply = crowd.misroute(Find(key=key), Reply(count=3), asker.address)
    named = [public_key for public_key, _ in parse_referrals(reply, parse_referral)]
    others = [node for node in grown.nodes[:6] if node is not asker]
    nearest = sorted(others, key=lambda node: distance(node.node_id, key))
    assert named == [node.identity.public_key for node in nearest]
    assert crowd.hide(Find(key=key), Reply(count=3), asker.address).count == 0


@pytest.mark.sim
@pytest.mark.parametrize("slander", [misplace, neighbour_with_nobody])
def test_no_liar_takes_the_place_of_honest_nodes_in_a_lookup(
    slander: Misroute,
) -> None:
    """What may be asked of one key or network is not to be used up by those who name dead ones."""
    with World(5, k=8) as world:
        world.run(world.grow(100, settle=20))
        liars = world.nodes[::10]
        honest, lie = others(world, liars), slander(world, liars)
        for liar in liars:
            corrupt(liar, lie)
        missed = 0
        for _ in range(60):
            key, reader = world.random.randbytes(20), world.random.choice(honest)
            right, other = world.closest(key, 2, honest)
            closest = world.run(reader.server.finder.lookup(key)).closest()
            expected = other if right is reader else right
            missed += expected.node_id not in {each.node_id for each in closest}
        assert not missed


def test_a_corrupted_node_proves_itself_and_lies(grown: World) -> None:
    liar, asker = grown.nodes[4], grown.nodes[5]
    corrupt(liar, answer_falsely(grown.random))
    found = grown.run(asker.server.asker.ask_proof(liar.address, Find(key=bytes(20))))
    assert found[0].count == 1_000
    assert found[1].contact.public_key == liar.identity.public_key
    reply = grown.run(asker.server.asker.ask(liar.address, Get(key=bytes(20))))
    assert reply.values
    assert len(reply.values) == 3


LIARS = 3


def told_by_boasters(
    world: World, subject: Subject, page: Callable[[bytes, bytes], bytes], dawdles: float = 0.0
) -> tuple[int, int]:
    """How many records of a subject a reader finds, and how many of them are the honest one."""
    publisher, reader = world.nodes[10], world.nodes[22]
    world.run(publish(world, publisher, subject))
    for liar in world.closest(subject.key, LIARS, others(world, [publisher, reader])):
        corrupt(liar, boast)
        liar.page, liar.dawdles = page, dawdles
    found = world.run(search(world, reader, subject))
    return len(found), sum(publisher.identity.public_key in value for value in found)


def test_a_reader_survives_liars_with_endless_pages(grown: World) -> None:
    read = 0

    def counted(subject: bytes, cursor: bytes) -> bytes:
        nonlocal read
        read += 1
        return endless_page(subject, cursor)

    assert told_by_boasters(grown, some_subject(5), counted) == (1, 1)
    assert read == LIARS


def test_liars_with_endless_right_pages_show_no_more_than_one_may_keep(grown: World) -> None:
    subject = some_subject(9)
    found, right = told_by_boasters(grown, subject, endless_records(grown))
    assert right == 1
    assert found == 1 + LIARS * subject.rules.rows_per_key


def test_liars_that_dawdle_hold_a_reader_up_for_half_a_minute(grown: World) -> None:
    started = grown.loop.time()
    assert told_by_boasters(grown, some_subject(10), endless_page, dawdles=3_600) == (1, 1)
    assert grown.loop.time() - started < 40


def test_ground_keys_lie_closer_than_any_honest_node(grown: World) -> None:
    key = some_subject(6).key
    made = ground_identities(key, 5, 5_000, grown)
    farthest = max(distance(grown.network.node_id(each.public_key), key) for each in made)
    assert farthest < distance(grown.closest(key, 1)[0].node_id, key)


def test_a_network_in_churn_stays_as_large_and_old_stores_come_back() -> None:
    with World(8, k=8) as world:
        world.run(world.grow(16, settle=10))
        first = list(world.nodes)

        async def some_minutes() -> None:
            going = asyncio.create_task(churn(world, first[4:], median=120, returning=0.5))
            await asyncio.sleep(900)
            going.cancel()

        world.run(some_minutes())
        assert len(world.members()) in range(14, 18)
        assert sum(node in world.nodes for node in first[4:]) < 6  # most are gone for good


def test_a_crashed_node_is_silent(grown: World) -> None:
    dead = grown.nodes[20]
    grown.run(crash(grown, dead))
    assert not dead.runs
    assert not grown.run(grown.nodes[21].server.verify(dead.address))


def test_one_holder_cannot_pass_a_rare_tag_off_as_full() -> None:
    """Every reader would look for it in 128 shards."""
    subject = tag_subject("rare")
    with World(8, k=8) as world:
        world.run(world.grow(24, settle=20))
        liar, *_ = world.closest(subject.key, subject.rules.copies)
        corrupt(liar, boast)
        reader = next(node for node in world.nodes if node is not liar)
        claimed: list[Holding] = []
        heard = world.run(gather(reader.server, subject, claimed.append))
    assert any(holding.more == 1_000 for holding in claimed)
    assert not heard.is_full
