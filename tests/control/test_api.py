"""Questions over a real control socket, answered by endpoints made up here."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from p2pfs.cli.control import ask, follow, receive
from p2pfs.concurrency import open_nursery
from p2pfs.control.api import Control, bind_control
from p2pfs.control.calls import Answering, Endpoint, Nothing, Streaming, Telling
from p2pfs.errors import (
    AnsweredError,
    CutError,
    NoSpaceError,
    NotAnsweringError,
    NotFoundError,
    NotRunningError,
    P2pfsError,
)
from p2pfs.peers.streams.http import serve_asgi


class Count(msgspec.Struct, frozen=True):
    number: int


async def double(count: Count) -> Count:
    return Count(2 * count.number)


async def refuse(_: Nothing) -> Nothing:
    raise NoSpaceError("the disk is full")


async def break_down(_: Nothing) -> Nothing:
    raise ZeroDivisionError("a mistake of ours")


async def count_up(to: Count) -> AsyncGenerator[Count, None]:
    for number in range(to.number):
        yield Count(number)
    raise NotFoundError("there are no more numbers")


ENDPOINTS: dict[str, Endpoint] = {
    "double": Answering(Count, double),
    "refuse": Answering(Nothing, refuse),
    "break": Answering(Nothing, break_down),
    "count": Telling(Count, count_up),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("P2PFS_HOME", str(tmp_path))
    return tmp_path


async def asked(home: Path, question: partial[object], endpoints: dict[str, Endpoint]) -> object:
    with closing(bind_control(home / "run" / "control.sock")) as listener:
        async with open_nursery() as nursery:
            nursery.start_soon(serve_asgi, Control(endpoints), [listener])
            try:
                return await trio.to_thread.run_sync(question)
            finally:
                nursery.cancel_scope.cancel()


async def test_a_question_is_answered_with_a_value(home: Path) -> None:
    assert await asked(home, partial(ask, "double", Count(21), Count), ENDPOINTS) == Count(42)


async def test_a_refusal_arrives_with_its_advice_and_its_exit_code(home: Path) -> None:
    with pytest.raises(AnsweredError, match="the disk is full; free some space") as refused:
        await asked(home, partial(ask, "refuse", Nothing(), Nothing), ENDPOINTS)
    assert refused.value.exit_code == NoSpaceError.exit_code


async def test_a_mistake_of_the_node_is_answered_too(home: Path) -> None:
    with pytest.raises(AnsweredError, match="a mistake of ours") as refused:
        await asked(home, partial(ask, "break", Nothing(), Nothing), ENDPOINTS)
    assert refused.value.exit_code == P2pfsError.exit_code


async def test_what_no_endpoint_answers_is_not_found(home: Path) -> None:
    with pytest.raises(AnsweredError, match="/v1/absent") as refused:
        await asked(home, partial(ask, "absent", Nothing(), Nothing), ENDPOINTS)
    assert refused.value.exit_code == NotFoundError.exit_code


async def test_a_question_of_another_shape_is_a_mistake_in_usage(home: Path) -> None:
    with pytest.raises(AnsweredError, match="cannot be read") as refused:
        await asked(home, partial(ask, "double", Nothing(), Count), ENDPOINTS)
    assert refused.value.exit_code == 2


async def test_what_is_told_bit_by_bit_ends_with_its_failure(home: Path) -> None:
    heard: list[Count] = []

    def listen() -> None:
        heard.extend(follow("count", Count(3), Count))

    with pytest.raises(AnsweredError, match="no more numbers") as failed:
        await asked(home, partial(listen), ENDPOINTS)
    assert heard == [Count(0), Count(1), Count(2)]
    assert failed.value.exit_code == NotFoundError.exit_code


async def some_bytes(count: Count) -> AsyncGenerator[bytes | bytearray, None]:
    if count.number > 3:
        raise NoSpaceError("the disk is full")
    yield b""
    for _ in range(min(count.number, 2)):
        yield b"x"
    if count.number > 2:
        raise NotFoundError("gone meanwhile")


async def bytes_of(home: Path, number: int) -> bytes:
    stream: dict[str, Endpoint] = {"some": Streaming(Count, lambda count: count.number, some_bytes)}
    question = partial(lambda: b"".join(receive("some", Count(number))))
    return bytes(await asked(home, question, stream))  # type: ignore[arg-type]


async def test_bytes_come_as_they_are(home: Path) -> None:
    assert await bytes_of(home, 0) == b""
    assert await bytes_of(home, 2) == b"xx"


async def test_bytes_that_cannot_begin_are_refused_and_others_are_cut(home: Path) -> None:
    with pytest.raises(AnsweredError, match="the disk is full"):
        await bytes_of(home, 4)
    with pytest.raises(CutError):
        await bytes_of(home, 3)


async def test_who_stops_listening_ends_the_telling(home: Path) -> None:
    ended = trio.Event()

    async def tell_for_ever(_: Nothing) -> AsyncGenerator[Count, None]:
        try:
            while True:
                yield Count(1)
                await trio.sleep(0.001)
        finally:
            ended.set()

    def listen() -> Count:
        lines = follow("tell", Nothing(), Count)
        with closing(lines):
            return next(lines)

    with closing(bind_control(home / "run" / "control.sock")) as listener:
        async with open_nursery() as nursery:
            control = Control({"tell": Telling(Nothing, tell_for_ever)})
            nursery.start_soon(serve_asgi, control, [listener])
            assert await trio.to_thread.run_sync(listen) == Count(1)
            with trio.fail_after(5):
                await ended.wait()
            nursery.cancel_scope.cancel()


def test_without_a_node_the_question_says_how_to_start_one(home: Path) -> None:
    with pytest.raises(NotRunningError, match="p2pfs mount"):
        ask("double", Count(1), Count)


async def test_a_node_that_is_stuck_is_not_waited_for(home: Path) -> None:
    async def never(_: Nothing) -> Nothing:
        await trio.sleep_forever()
        return Nothing()

    stuck: dict[str, Endpoint] = {"never": Answering(Nothing, never)}
    with pytest.raises(NotAnsweringError):
        await asked(home, partial(ask, "never", Nothing(), Nothing, 0.1), stuck)
