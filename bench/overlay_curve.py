"""Where lookups fall: right nodes found, by the share of the network that turns hostile.

    python -m bench.overlay_curve [--nodes 300] [--lookups 200] [--seeds 1]

A curve for docs/overlay.md, without a bar: `bench.overlay` has those.
"""

from __future__ import annotations

import argparse
import os
from functools import partial

from bench.overlaycells.cells import Scale, Tally
from bench.overlaycells.forks import forked
from bench.overlaycells.routing import turned
from tests.sim.adversaries import collude

_SHARES = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_K = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--lookups", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    seeds = tuple(range(1, args.seeds + 1))
    scale = Scale(seeds, args.lookups, small=True, jobs=os.cpu_count() or 1)
    tallies = [Tally()] * len(_SHARES)
    turns = [(collude, share) for share in _SHARES]
    for of_seed in forked(partial(turned, scale, args.nodes, _K, turns), seeds, scale.jobs):
        tallies = [one + other for one, other in zip(tallies, of_seed, strict=True)]
    print(f"{args.nodes} nodes, k = {_K}, seeds {seeds}")
    for share, tally in zip(_SHARES, tallies, strict=True):
        print(f"{share:>4.0%} hostile: {tally.hits / tally.tries:.3f} (95 %: {tally.lower():.3f})")


if __name__ == "__main__":
    main()
