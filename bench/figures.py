"""Figures beside their bars; a benchmark ends non-zero when one falls below."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What a benchmark found.  `at_least` and `at_most` print a line each; `end` exits."""

    missed: list[str] = field(default_factory=list)

    def at_least(self, name: str, value: float, bar: float, unit: str) -> None:
        self._line(name, value, f">= {bar:g}", unit, reached=value >= bar)

    def at_most(self, name: str, value: float, bar: float, unit: str) -> None:
        self._line(name, value, f"<= {bar:g}", unit, reached=value <= bar)

    def end(self) -> None:
        sys.exit(1 if self.missed else 0)

    def _line(self, name: str, value: float, bar: str, unit: str, *, reached: bool) -> None:
        verdict = "reached" if reached else "MISSED"
        print(f"{name:<58} {value:>9.2f} {unit:<5} bar {bar:<8} {verdict}", flush=True)
        if not reached:
            self.missed.append(name)
