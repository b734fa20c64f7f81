"""How every command writes its answer: for a person at a terminal, or for a program at a pipe.

What the text looks like is decided in `p2pfs.text`; a bar that moves is `cli.progress`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO, TypeVar

from p2pfs.status import encode_json
from p2pfs.text import aligned, aligned_facts, coloured, tabbed, tabbed_facts, uncoloured

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from p2pfs.text import Column, Fact, Paint

T = TypeVar("T")


def write_table(columns: Sequence[Column[T]], items: Sequence[T]) -> None:
    """A table with headings on a terminal; else a line an item, with tabs between."""
    out = sys.stdout
    out.write(aligned(columns, items, paint_for(out)) if out.isatty() else tabbed(columns, items))


def write_facts(facts: Sequence[Fact]) -> None:
    """A name and a value a line: in two columns on a terminal, else with a tab between."""
    out = sys.stdout
    out.write(aligned_facts(facts, paint_for(out)) if out.isatty() else tabbed_facts(facts))


def write_json(answer: msgspec.Struct) -> None:
    """What `--json` prints, in UTF-8 whatever the locale (RFC 8259)."""
    sys.stdout.flush()
    sys.stdout.buffer.write(encode_json(answer))


def paint_for(stream: TextIO) -> Paint:
    """In colour on a terminal, unless NO_COLOR (https://no-color.org) or TERM=dumb says no."""
    wanted = stream.isatty() and not os.environ.get("NO_COLOR")
    return coloured if wanted and os.environ.get("TERM", "dumb") != "dumb" else uncoloured
