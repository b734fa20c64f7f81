"""Text for a person at a terminal, or for a program at a pipe, whoever wrote what is in it.

Pure.  Where it is written, and whether in colour, is for `cli.printing`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")

Style = Literal["plain", "heading", "dim", "good", "busy", "bad"]
Paint = Callable[[str, Style], str]

# Format characters (category Cf) reorder or hide text; these two join letters in many scripts.
_HARMLESS_FORMAT = "\u200c\u200d"
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
# ECMA-48, section 8.3.117; the colours that are readable on black and on white.
_CODES: dict[Style, str] = {"heading": "1", "dim": "2", "good": "32", "busy": "33", "bad": "31"}
_GAP = "  "
_NOTHING = "-"  # in the place of what is not known, so that a column is never empty
_NOT_ASCII = re.compile("[\x7f-\U0010ffff]")


def is_printable(character: str) -> bool:
    """Whether it neither moves a terminal's cursor, nor ends a line, nor turns or hides text."""
    return character in _HARMLESS_FORMAT or unicodedata.category(character) not in _UNPRINTABLE


def printable(text: str) -> str:
    """One line that any terminal may be given: each character that is not printable is `?`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if is_printable(character) else "?" for character in text)


def printable_json(json: str) -> str:
    """The same JSON, with escapes for what is not printable in its strings."""
    return _NOT_ASCII.sub(lambda found: _escaped(found[0]), json)


def human_bytes(count: float) -> str:
    """`1.5 MiB`: binary units, one decimal from KiB on."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 binary units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 peer`, `2 peers`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def uncoloured(text: str, _style: Style) -> str:
    """For pages, pipes, and terminals that are to have no colour."""
    return text


def coloured(text: str, style: Style) -> str:
    """For any other terminal."""
    code = _CODES.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _plain(_item: object) -> Style:
    return "plain"


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column: `told` is what a program gets, and `shown` what a person does, if not the same.

    None is nothing to a program and `-` to a person.
    """

    heading: str
    told: Callable[[T], object]
    shown: Callable[[T], str | None] | None = None
    align: Literal["left", "right"] = "left"
    style: Callable[[T], Style] = _plain

    def cell(self, item: T) -> str:
        """For a person."""
        value = (self.shown or self.told)(item)
        return _NOTHING if value is None else printable(str(value))

    def field(self, item: T) -> str:
        """For a program."""
        value = self.told(item)
        return "" if value is None else printable(str(value))


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value; the value as in a `Column`."""

    name: str
    told: object
    shown: str | None = None
    style: Style = "plain"


def _value(fact: Fact) -> object:
    return fact.shown or fact.told


def aligned(columns: Sequence[Column[T]], items: Sequence[T], paint: Paint) -> str:
    """A line of headings and a line an item; nothing at all of no items."""
    if not items:
        return ""
    table = [_Stripe(column, items) for column in columns]
    rows = zip(*(stripe.cells(paint) for stripe in table), strict=True)
    return "".join(_GAP.join(row).rstrip(" ") + "\n" for row in rows)


def tabbed(columns: Sequence[Column[T]], items: Iterable[T]) -> str:
    """A line an item, with tabs between; without headings, as `cut` and `while read` want it."""
    return "".join("\t".join(column.field(item) for column in columns) + "\n" for item in items)


def aligned_facts(facts: Sequence[Fact], paint: Paint) -> str:
    """A line a fact."""
    columns: list[Column[Fact]] = [
        Column("", lambda fact: fact.name, style=lambda _: "dim"),
        Column("", _value, style=lambda fact: "plain" if _value(fact) is None else fact.style),
    ]
    return aligned(columns, facts, paint).partition("\n")[2]


def tabbed_facts(facts: Iterable[Fact]) -> str:
    """A line a fact, a tab between its name and its value."""
    return tabbed([Column("", lambda fact: fact.name), Column("", lambda fact: fact.told)], facts)


class _Stripe(Generic[T]):
    """A column of a table with the heading and all its cells, equally wide."""

    def __init__(self, column: Column[T], items: Sequence[T]) -> None:
        self._texts = [column.heading, *(column.cell(item) for item in items)]
        self._styles: list[Style] = ["heading", *(column.style(item) for item in items)]
        self._widths = [_width(text) for text in self._texts]
        self._align = column.align

    def cells(self, paint: Paint) -> Iterator[str]:
        widest = max(self._widths)
        for text, style, width in zip(self._texts, self._styles, self._widths, strict=True):
            room = " " * (widest - width)
            painted = paint(text, style) if text else ""
            yield room + painted if self._align == "right" else painted + room


def _width(text: str) -> int:
    """How many cells of a terminal it takes: Chinese takes two a character, accents none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # its tables are large, and seldom needed

    return cell_len(text)


def _escaped(character: str) -> str:
    if is_printable(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
