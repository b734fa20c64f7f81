"""What `p2pfs get` decides without a node."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.cli.contents import asked_of, content_named
from p2pfs.cli.get import _checked_text, _stays_below
from p2pfs.cli.saving import part_name
from p2pfs.control.asked import Asked
from p2pfs.errors import NotFoundError, UsageError
from p2pfs.library.names import MAX_NAME_BYTES, safe_name

CID = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("a", True),
        ("a/b", True),
        ("/etc", False),
        ("../a", False),
        ("a/../../b", False),
        ("a\x1bb", False),
    ],
)
def test_a_link_is_made_only_if_it_cannot_lead_out(target: str, stays: bool) -> None:
    assert _stays_below(target) == stays


def test_a_terminal_is_given_text_only_however_it_is_cut() -> None:
    text = "Nübel\t14°\r\n"
    pieces = [text.encode()[:2], text.encode()[2:]]
    assert "".join(_checked_text(iter(pieces))) == text
    for content in (b"\x00", b"\x1b[2J", b"\xff", "\u202e".encode()):
        with pytest.raises(UsageError, match="-o FILE"):
            list(_checked_text(iter([b"ok", content])))


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=300).map(safe_name))
def test_a_part_has_a_name_of_its_own_that_fits(name: str) -> None:
    part = part_name(name, CID)
    assert part.endswith(".part")
    assert part != name
    assert len(part.encode()) <= MAX_NAME_BYTES


def test_a_content_is_named_as_other_programs_name_it() -> None:
    for word in (f"{CID}/a b", f"ipfs://{CID}/a%20b", f"/ipfs/{CID}/a b/"):
        assert asked_of(word) == (Asked(CID, ["a b"]), "a b")
    assert asked_of(f"ipfs://{CID}") == (Asked(CID), CID)
    with pytest.raises(NotFoundError, match="nowhere"):
        content_named("/nowhere")
