"""Single values: what is written is read, and what is read can be written again."""

from __future__ import annotations

import tomllib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.errors import MalformedError
from p2pfs.settingtable import SETTINGS
from p2pfs.settingvalues import router, size, size_text


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


PEER = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"


@pytest.mark.parametrize(
    "url",
    [
        "https://delegated-ipfs.dev",
        "https://192.0.2.7:7117/below",
        "https://[2001:db8::7]:7117",
        f"https://{PEER}@192.0.2.7:7117",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://localhost:8080",
        "http://192.168.1.2:8080",
    ],
)
def test_a_router_is_a_url(url: str) -> None:
    assert router(url) == url
    assert router(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "delegated-ipfs.dev",
        "ftp://example.org",
        "http://example.org",
        f"http://{PEER}@127.0.0.1:8080",
        "https://user@example.org",
        f"https://{PEER}:secret@example.org",
        "https://example.org?a=b",
        "https://example.org#a",
        "https://example.org:0",
        "https://example.org:99999",
        "https://-x-",
        f"https://{'a' * 64}.org",
        "https://[::1",
    ],
)
def test_what_is_no_url_of_a_router_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        router(url)
