"""The cells of `bench.overlay`, a module a family; `ALL` is the table, in its order.

A cell is a function of a `Scale` that yields `Row`s.  A new family: write its module, add it here.
"""

from bench.overlaycells import (
    churning,
    eclipse,
    floods,
    latency,
    recordliars,
    routing,
    scale,
    stopping,
    stored,
)
from bench.overlaycells.cells import Cell

ALL: tuple[Cell, ...] = (
    *routing.CELLS,
    *recordliars.CELLS,
    *eclipse.CELLS,
    *latency.CELLS,
    *churning.CELLS,
    *floods.CELLS,
    *stored.CELLS,
    *stopping.CELLS,
    *scale.CELLS,
)
