"""Failures become errnos here: the one translator of the mount.

What any failure means is said in `p2pfs.errors`; this only hands its errno to the kernel.
"""

from __future__ import annotations

import errno
import logging
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pyfuse3
import trio

from p2pfs.errors import P2pfsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type[Any])

# Nobody waits for the answer of these, and libfuse must not be given one.
_UNANSWERED = frozenset({"forget"})

log = logging.getLogger(__name__)


def every_handler_answered(operations: C) -> C:
    """Class decorator: no public coroutine of `operations` lets anything but an errno out.

    pyfuse3 ends the whole mount, and hangs its callers, at any exception but `FUSEError`.
    """
    for name, handler in list(vars(operations).items()):
        if iscoroutinefunction(handler) and not name.startswith("_"):
            wrap = _unanswered if name in _UNANSWERED else _answered
            setattr(operations, name, wrap(handler))
    return operations


def errno_of(error: Exception) -> int | None:
    """The errno of a failure that a user can meet; None for a bug of ours."""
    if isinstance(error, P2pfsError):
        return error.errno
    if isinstance(error, OSError) and error.errno:
        return error.errno
    return None


def _answered(handler: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    @wraps(handler)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await handler(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise _translated(handler.__name__, error) from error
        except BaseExceptionGroup as group:
            raise _translated(handler.__name__, _failure_in(group)) from group

    return answered


def _unanswered(handler: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    @wraps(handler)
    async def unanswered(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await handler(*args, **kwargs)
        except Exception:
            log.exception("%s failed; the mount goes on", handler.__name__)

    return unanswered


def _translated(handler: str, error: Exception) -> pyfuse3.FUSEError:
    if isinstance(error, ExceptionGroup):
        error = _failure_in(error)
    number = errno_of(error)
    if number is None:
        log.error("%s failed; the caller gets EIO", handler, exc_info=error)
        number = errno.EIO
    return pyfuse3.FUSEError(number)


def _failure_in(group: BaseExceptionGroup[BaseException]) -> Exception:
    """The first failure in a group; what is no failure (a cancellation) is raised on its own."""
    ours, others = group.split(Exception)
    if ours is None:
        raise group
    if others is not None and others.split(trio.Cancelled)[1] is not None:
        raise others
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, Exception)  # noqa: S101 by split()
    return first
