"""What is told of tags that are spelt otherwise than they are written."""

from __future__ import annotations

import pytest

from p2pfs.cli.owntags import tags_given, tell_spelling
from p2pfs.errors import UsageError


def test_another_spelling_is_told_and_the_same_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    tell_spelling(["A/b", "sea", "Pearl\x1b[2J Jam"])
    assert capsys.readouterr() == (
        "",
        'p2pfs: tag "A/b" is written "a-b"\n'
        'p2pfs: tag "Pearl?[2J Jam" is written "pearl-[2j-jam"\n',
    )


def test_a_tag_is_text() -> None:
    assert tags_given(("/", "Ä")) == ["/", "Ä"]
    with pytest.raises(UsageError):
        tags_given(("\udcff",))
