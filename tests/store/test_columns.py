"""What goes into a column comes out of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.content.cid import DAG_PB, cid_of, cid_v0_of
from p2pfs.store.columns import joined, root_key, signed, split, stored_cid, unsigned


@given(number=st.integers(0, 2**64 - 1))
def test_unsigned_integers_fit_into_signed_columns(number: int) -> None:
    assert -(2**63) <= signed(number) < 2**63
    assert unsigned(signed(number)) == number


@given(tags=st.lists(st.text("abcü:-", min_size=1)).map(tuple))
def test_tags_come_back(tags: tuple[str, ...]) -> None:
    assert split(joined(tags)) == tags


def test_versions_of_a_cid_have_one_key() -> None:
    first, second = cid_v0_of(b"block"), cid_of(DAG_PB, b"block")
    assert root_key(first) == root_key(second)
    assert stored_cid(root_key(first)) == second
