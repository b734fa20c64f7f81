import trio

from p2pfs.library.underway import UnderWay


async def test_what_waits_for_all_others_is_named_one_by_one_when_there_are_none() -> None:
    ready: list[bytes] = []
    underway = UnderWay(lambda: ready.extend(underway.take_ready()))
    more = trio.Event()

    async def work(path: bytes) -> None:
        if path == b"long":
            await more.wait()

    async with trio.open_nursery() as nursery:
        underway.start(nursery, b"long", work)
        underway.start(nursery, b"short", work)
        underway.wait_idle(b"last")
        underway.wait_idle(b"after it")
        assert b"last" in underway
        assert underway.paths() == [b"long", b"short"]
        while underway.is_running(b"short"):
            await trio.lowlevel.checkpoint()
        assert ready == []
        assert underway.is_alone()
        underway.wait_turn(b"new")
        assert not underway.is_alone()
        assert underway.take_ready() == [b"new"]
        more.set()
    assert ready == [b"last"]
