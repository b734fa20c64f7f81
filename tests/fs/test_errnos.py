from __future__ import annotations

import errno

import pyfuse3
import pytest
import trio
from trio.testing import MockClock

from p2pfs.concurrency import deadline
from p2pfs.errors import NoProvidersError, TimedOutError, UnreachableError
from p2pfs.fs.errnos import every_handler_answered


@every_handler_answered
class Failing:
    """Stands for Operations: raises what it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def read(self) -> bytes:
        raise self.error

    async def forget(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (NoProvidersError("nobody"), errno.ENODATA),
        (UnreachableError("away"), errno.EHOSTUNREACH),
        (TimedOutError("late"), errno.ETIMEDOUT),
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (pyfuse3.FUSEError(errno.EROFS), errno.EROFS),
        (ExceptionGroup("two", [NoProvidersError("nobody"), ValueError()]), errno.ENODATA),
        (ValueError("a bug"), errno.EIO),
        (OSError("without a number"), errno.EIO),
        (RecursionError(), errno.EIO),
        (AssertionError(), errno.EIO),
    ],
)
async def test_every_failure_has_an_errno(error: Exception, number: int) -> None:
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await Failing(error).read()
    assert caught.value.errno == number


async def test_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(pyfuse3.FUSEError):
        await Failing(KeyError("a bug")).read()
    assert "read failed" in caplog.text
    assert "Traceback" in caplog.text


async def test_what_nobody_waits_for_fails_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    await Failing(KeyError("a bug")).forget()
    assert "forget failed" in caplog.text


async def test_a_failure_beside_a_cancellation_is_an_errno() -> None:
    class Mixed:
        async def read(self) -> bytes:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.wait_shielded)
                await trio.lowlevel.checkpoint()
                raise NoProvidersError("nobody")

        async def wait_shielded(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while going")

    with pytest.raises(pyfuse3.FUSEError):
        await every_handler_answered(Mixed)().read()


async def test_a_cancellation_is_no_failure(autojump_clock: MockClock) -> None:
    class Waiting:
        async def read(self) -> None:
            await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        await every_handler_answered(Waiting)().read()
    assert scope.cancelled_caught


async def test_a_deadline_says_what_was_late(autojump_clock: MockClock) -> None:
    late = pytest.raises(TimedOutError, match="opening x took longer than 5 s")
    with late, deadline(5, "opening x"):
        await trio.sleep_forever()
