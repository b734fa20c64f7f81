"""Single values: what is written is read, and what is read can be written again."""

from __future__ import annotations

import tomllib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.errors import MalformedError
from p2pfs.settings import SETTINGS
from p2pfs.settingvalues import size, size_text


@given(st.integers(0, 1 << 50))
def test_a_size_is_read_back_exactly_from_its_text(count: int) -> None:
    assert size(size_text(count)) == count


def test_round_sizes_are_written_with_their_unit() -> None:
    assert [size_text(count) for count in (0, 1536, 1 << 30, 20 << 30)] == [
        "0",
        "1536",
        "1G",
        "20G",
    ]


@given(st.sampled_from(sorted(SETTINGS)), st.one_of(st.text(), st.integers(), st.booleans()))
def test_whatever_is_written_is_a_value_or_refused(name: str, value: object) -> None:
    with suppress(ValueError, MalformedError):
        SETTINGS[name].parse(value)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_example_of_a_setting_is_one(name: str) -> None:
    value = tomllib.loads(f"{name} = {SETTINGS[name].example}")[name]
    SETTINGS[name].parse(value)
