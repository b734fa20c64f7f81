"""Runs functions in forked processes: a grown network is a start for many experiments.

Only for processes without threads and sockets, as simulations are.
"""

from __future__ import annotations

import os
import pickle
import select
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def forked(act: Callable[[T], R], items: Iterable[T], jobs: int = 1) -> Iterator[R]:
    """What `act` returns for each item, in their order, `jobs` processes at once."""
    running: dict[int, tuple[int, int]] = {}  # by the end that is read: which item, which child
    ended: dict[int, R] = {}
    given = 0

    def wait_for_one() -> None:
        reader = select.select(list(running), [], [])[0][0]
        number, child = running.pop(reader)
        ended[number] = pickle.loads(_written(child, reader))  # noqa: S301 by our own child

    for number, item in enumerate(items):
        if len(running) == jobs:
            wait_for_one()
        while given in ended:
            yield ended.pop(given)
            given += 1
        child, reader = _start(act, item)
        running[reader] = number, child
    while running or ended:
        while given not in ended:
            wait_for_one()
        yield ended.pop(given)
        given += 1


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


def _written(child: int, reader: int) -> bytes:
    with open(reader, "rb") as file:
        raw = file.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("an experiment ended with an error")
    return raw
