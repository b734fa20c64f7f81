"""Filling a table whose lookups are played: what is looked for, and when that ends."""

from __future__ import annotations

import asyncio
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.dht.kad.contacts import distance
from p2pfs.dht.kad.errors import SilentError
from p2pfs.dht.kad.refreshing import random_id, refresh
from tests.dht.kad.nodes import contact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from p2pfs.addresses import Endpoint
    from p2pfs.dht.kad.contacts import Contact, Hint
    from p2pfs.dht.kad.server import Server

OWN = bytes(20)


class PlayedServer:
    """Its own finder, table and lookups; what is asked of any is written down in `done`."""

    def __init__(self, *stale: int) -> None:
        self.stale, self.done = list(stale), list[str]()
        self.gone: list[Hint] = []
        self.named: list[Hint] = []
        self.heard: list[list[Hint]] = []
        self.known: list[Contact] = []
        self.not_heard_of: list[Contact] = []
        self.answers_after = self.others = 1
        self.own_id, self.settings, self.k = OWN, SimpleNamespace(random=Random(1)), 30
        self.finder = self.table = self

    def monotonic(self) -> float:
        return 0.0

    async def meet_neighbours(
        self, before: PlayedServer | None, heard: Iterable[Hint]
    ) -> PlayedServer:
        assert bool(list(heard)) == (before is not None)
        self.done.append("own, on" if before is self else "own")
        return self

    async def visit(self, key: bytes, heard: Iterable[Hint]) -> PlayedServer:
        bucket = 160 - int.from_bytes(key, "big").bit_length()
        self.stale.remove(bucket)
        self.done.append(f"bucket {bucket}")
        self.heard.append(list(heard))
        self.named = [contact(bucket).hint]
        return self

    def silent(self, count: int) -> list[Hint]:
        assert count == self.k
        return self.gone

    def unasked(self) -> list[Hint]:
        return self.named

    async def verify(self, _address: Endpoint) -> bool:
        self.done.append("again")
        return self.done.count("again") >= self.answers_after

    def at(self, address: Endpoint) -> Contact | None:
        return next((each for each in self.known if each.endpoint == address), None)

    def stale_buckets(self, _before: float) -> list[int]:
        return list(self.stale)

    def answering(self) -> int:
        return self.others

    def quiet(self, _before: float) -> list[Contact]:
        return self.not_heard_of

    def refresh(self) -> list[str]:
        asyncio.run(refresh(cast("Server", self), lambda: self.done.append("looked")))
        return self.done


def test_the_own_id_is_looked_for_before_and_after_the_buckets() -> None:
    begun, on = ["own", "looked"], ["own, on", "looked"]
    assert PlayedServer(0, 3).refresh() == [*begun, "bucket 0", "bucket 3", *on]
    assert PlayedServer().refresh() == begun


def test_visits_are_told_of_those_that_were_heard_of_before_the_latest_first() -> None:
    server = PlayedServer(1, 2, 3)
    server.named = [contact(9).hint]
    server.refresh()
    numbers = [[9], [1, 9], [2, 1, 9]]
    assert server.heard == [[contact(number).hint for number in each] for each in numbers]


def test_no_more_are_remembered_than_fit() -> None:
    server = PlayedServer(1, 2)
    server.named = [contact(number).hint for number in range(10, 5_000)]
    server.refresh()
    assert [len(each) for each in server.heard] == [4_096, 4_096]
    assert server.heard[1][0] == contact(1).hint


@pytest.mark.parametrize(("answers_after", "asked"), [(1, 1), (2, 2), (9, 2)])
def test_a_silent_neighbour_is_asked_twice_more(answers_after: int, asked: int) -> None:
    server = PlayedServer()
    server.gone, server.answers_after = [contact(1).hint] * 2, answers_after
    assert server.refresh() == ["own", "looked"] + ["again"] * asked


def test_a_silent_contact_is_left_to_those_who_look_after_contacts() -> None:
    server = PlayedServer()
    server.gone, server.known = [contact(1).hint], [contact(1)]
    assert server.refresh() == ["own", "looked"]


@pytest.mark.parametrize(("others", "asked"), [(1, 2), (0, 0)])
def test_who_was_not_heard_of_is_asked_in_the_end_unless_nobody_answers(
    others: int, asked: int
) -> None:
    server = PlayedServer()
    server.others, server.not_heard_of = others, [contact(1), contact(2)]
    assert server.refresh() == ["own", "looked"] + ["again"] * asked


def test_that_the_look_has_ended_is_told_when_it_fails_too() -> None:
    server = PlayedServer()

    async def fail(_before: object, _heard: object) -> PlayedServer:
        raise SilentError("nobody")

    server.meet_neighbours = fail  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup):
        server.refresh()
    assert server.done == ["looked"]


@given(st.binary(min_size=20, max_size=20), st.integers(0, 159))
def test_a_random_id_falls_into_its_bucket(own: bytes, bucket: int) -> None:
    made = random_id(own, bucket, Random(bucket))
    assert 160 - distance(own, made).bit_length() == bucket
