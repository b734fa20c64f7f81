import trio
from trio.testing import MockClock

from p2pfs.library.agenda import Agenda


async def test_many_hints_are_one_look_after_the_last(autojump_clock: MockClock) -> None:
    agenda: Agenda[str] = Agenda()
    for _ in range(5):
        agenda.look_after("a", 1)
        await trio.sleep(0.5)
    started = trio.current_time()
    assert await agenda.wait_due() == ["a"]
    assert trio.current_time() - started == 0.5


async def test_at_once_is_not_put_off(autojump_clock: MockClock) -> None:
    agenda: Agenda[str] = Agenda()
    agenda.look("a")
    agenda.look_after("a", 60)
    agenda.look_after("b", 60)
    agenda.look_unless_due("b")
    assert await agenda.wait_due() == ["a"]
    assert await agenda.wait_next() == "b"
    assert trio.current_time() >= 60


async def test_a_sleeper_is_woken_by_something_earlier(autojump_clock: MockClock) -> None:
    agenda: Agenda[str] = Agenda()
    agenda.look_after("late", 100)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def hint() -> None:
            await trio.sleep(1)
            agenda.look_after("early", 1)

        started = trio.current_time()
        assert await agenda.wait_next() == "early"
        assert trio.current_time() - started == 2


async def test_at_once_comes_in_the_order_asked_for(autojump_clock: MockClock) -> None:
    agenda: Agenda[str] = Agenda()
    for thing in ("b", "a", "c", "b"):
        agenda.look(thing)
    assert await agenda.wait_due() == ["a", "c", "b"]


async def test_what_is_put_off_again_and_again_takes_no_room(autojump_clock: MockClock) -> None:
    agenda: Agenda[str] = Agenda()
    for _ in range(10_000):
        agenda.look_after("a", 60)
        agenda.look_after("b", 30)
    assert len(agenda._by_time) < 100
    assert await agenda.wait_due() == ["b"]
    assert await agenda.wait_due() == ["a"]
