"""The overlay beside its bars and the stock `kademlia` package: dead peers, attackers, churn.

    python -m bench.overlay [--cells NAME…] [--seeds 5] [--lookups 2000] [--nodes N] [--hours H]
                            [--stored B] [--small] [--jobs J]

Whole networks of the real code on virtual time (`tests/sim`); the figures of the stock package were
measured on such networks too.  The mean decides; beside it the 95 % bound on the bad side.  Cells
run at once as far as there are processors, and print a line as soon as they know it.

Without options it is the whole table, which takes days; `./check nightly` says how it is run within
hours.  `--small` is what CI runs: networks of a few hundred nodes, one fixed seed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import replace
from functools import partial

from bench.overlaycells import ALL
from bench.overlaycells.cells import Cell, Row, Scale
from bench.overlaycells.forks import forked

# So that a run can be told from another, and found again.
_FIRST_SEED = 1
_SMALL_LOOKUPS = 40
# Networks of gigabytes wait for memory more than for the processor: on huge pages, for which
# glibc's allocator asks and Python's own does not, one more node among 3,000 takes a sixth less.
_HUGE_PAGES = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [cell.name for cell in ALL]
    parser.add_argument("--cells", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--seeds", type=int, help="how many networks a cell, 5")
    parser.add_argument("--lookups", type=int, help="a network, 2,000")
    parser.add_argument("--nodes", type=int, help="a network, instead of each cell's own")
    parser.add_argument("--hours", type=int, help="of churn, virtual, instead of each cell's own")
    parser.add_argument("--stored", type=int, help="bytes a node under churn, 1,000,000")
    parser.add_argument("--small", action="store_true", help="one small network a cell")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    args = parser.parse_args()
    seeds = args.seeds or (1 if args.small else 5)
    lookups = args.lookups or (_SMALL_LOOKUPS if args.small else 2_000)
    scale = Scale(
        tuple(range(_FIRST_SEED, _FIRST_SEED + seeds)),
        lookups,
        args.small,
        max(1, args.jobs),
        args.nodes,
        args.hours,
        args.stored,
    )
    sys.exit(0 if run([cell for cell in ALL if cell.name in args.cells], scale) else 1)


def run(cells: list[Cell], scale: Scale) -> bool:
    """Print a line for every row; whether all bars were reached."""
    print(f"seeds {', '.join(map(str, scale.seeds))}; {scale.lookups} lookups each", flush=True)
    print(f"{'':<66} {'stock':>7} {'ours':>8} {'95 %':>8} {'bar':>8}", flush=True)
    at_once = min(scale.jobs, len(cells))
    each = replace(scale, jobs=scale.jobs // at_once)
    return all(list(forked(partial(_reaches, each), cells, at_once)))


def _reaches(scale: Scale, cell: Cell) -> bool:
    reached, began = True, time.monotonic()
    for row in cell.run(scale):
        print(_line(row), flush=True)
        reached = reached and row.reached
    print(f"  {cell.name}: {time.monotonic() - began:.0f} s", flush=True)
    return reached


def _line(row: Row) -> str:
    bound = "" if row.bound is None else _number(row.bound)
    sign = "<=" if row.at_most else ">="
    verdict = "" if row.reached else "  MISSED"
    return (
        f"{row.what:<66} {row.stock:>7} {_number(row.value):>8} {bound:>8}"
        f" {sign + ' ' + _number(row.bar):>8} {row.unit}{verdict}"
    )


def _number(value: float) -> str:
    return f"{value:.4g}"


def _with_huge_pages() -> None:
    """Begin anew with them, unless that is done, or somebody has set either otherwise."""
    if platform.libc_ver()[0] == "glibc" and _HUGE_PAGES.keys().isdisjoint(os.environ):
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, os.environ | _HUGE_PAGES)  # noqa: S606 this very program


if __name__ == "__main__":
    _with_huge_pages()
    main()
