"""Runs functions in forked processes: a grown network is a start for many experiments.

Only for processes without threads and sockets, as simulations are.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def forked(act: Callable[[T], R], items: Iterable[T], jobs: int = 1) -> Iterator[R]:
    """What `act` returns for each item, in their order, `jobs` processes at once."""
    waiting: deque[tuple[int, int]] = deque()
    for item in items:
        if len(waiting) == jobs:
            yield _result(*waiting.popleft())
        waiting.append(_start(act, item))
    while waiting:
        yield _result(*waiting.popleft())


def _start(act: Callable[[T], R], item: T) -> tuple[int, int]:
    sys.stdout.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    os.close(reader)
    try:
        with open(writer, "wb") as file:
            pickle.dump(act(item), file)
    except BaseException:  # noqa: BLE001 the parent tells by the missing result
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _result(child: int, reader: int) -> R:
    with open(reader, "rb") as file:
        raw = file.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("an experiment ended with an error")
    result: R = pickle.loads(raw)  # noqa: S301 by our own child
    return result
