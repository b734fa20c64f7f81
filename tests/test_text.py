from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from p2pfs.text import (
    Column,
    Fact,
    aligned,
    aligned_facts,
    coloured,
    human_bytes,
    printable,
    printable_json,
    tabbed,
    tabbed_facts,
    uncoloured,
)

HOSTILE = "a\n\x1b[2J\t\x9b\u202e\u2028\udcffb"
FRUIT: list[Column[tuple[str, int | None]]] = [
    Column("NAME", lambda fruit: fruit[0]),
    Column("SIZE", lambda fruit: fruit[1], align="right", style=lambda _: "good"),
]


@given(st.text(st.characters()))
def test_what_is_printable_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"} for each in shown)
    assert "\u202e" not in shown
    assert len(shown.splitlines()) <= 1


def test_ordinary_text_of_any_script_is_printable_as_it_is() -> None:
    for text in ("Nübel 14°", "音楽", "नमस्\u200dते", "10.00\u202fAM"):
        assert printable(text) == text


@given(st.text(st.characters(codec="utf-8")))
def test_json_means_the_same_when_it_is_printable(text: str) -> None:
    encoded = json.dumps({"name": text}, ensure_ascii=False)
    shown = printable_json(encoded)
    assert json.loads(shown) == {"name": text}
    assert printable(shown) == shown


def test_columns_are_aligned_by_the_cells_they_take() -> None:
    table = aligned(FRUIT, [("fig", 7), ("音楽", 1234), ("pear", None)], uncoloured)
    assert table == "NAME  SIZE\nfig      7\n音楽  1234\npear     -\n"


def test_colour_does_not_change_what_is_aligned() -> None:
    plain = aligned(FRUIT, [("fig", 7), ("pear", 10)], uncoloured)
    painted = aligned(FRUIT, [("fig", 7), ("pear", 10)], coloured)
    assert "\x1b[32m7\x1b[0m\n" in painted
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[32m"):
        painted = painted.replace(code, "")
    assert painted == plain


def test_a_table_of_nothing_is_nothing() -> None:
    assert aligned(FRUIT, [], uncoloured) == tabbed(FRUIT, []) == ""


def test_hostile_text_makes_no_field_line_or_colour_of_its_own() -> None:
    assert tabbed(FRUIT, [(HOSTILE, 1), ("x", None)]) == "a??[2J?????b\t1\nx\t\n"
    assert HOSTILE not in aligned(FRUIT, [(HOSTILE, 1)], coloured)


def test_facts_are_shown_to_people_and_told_to_programs() -> None:
    facts = [Fact("size", 2048, human_bytes(2048)), Fact("name", HOSTILE), Fact("mime", None)]
    assert aligned_facts(facts, uncoloured) == "size  2.0 KiB\nname  a??[2J?????b\nmime  -\n"
    assert tabbed_facts(facts) == "size\t2048\nname\ta??[2J?????b\nmime\t\n"


def test_a_fact_without_a_value_is_not_painted() -> None:
    facts = [Fact("last_error", None, style="bad"), Fact("state", "failed", style="bad")]
    nothing, failed = aligned_facts(facts, coloured).splitlines()
    assert nothing.endswith("  -")
    assert failed.endswith(coloured("failed", "bad"))
