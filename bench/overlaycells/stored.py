"""What is stored: under a flood of one key, of a great many chunks, of a tag beyond one key."""

from __future__ import annotations

from collections.abc import Iterator

from bench.flood import FLOODS, KEYS, TIMES, share_kept
from bench.hottag import cell as hot_tag_cell
from bench.overlaycells.cells import Cell, Row, Scale
from bench.overlaycells.forks import forked
from bench.sweep import LOOKED_FOR
from bench.sweep import cell as sweep_cell

_MOST_SENT_MB = 120
_SWEEP_SECONDS = 90
_MOST_MB_A_SHARD = 1.1


def flood(scale: Scale) -> Iterator[Row]:
    """Honest records at one holder, the worst kind of key and the worst seed."""
    times = scale.size(TIMES, 3)
    for each in FLOODS:

        def worst(seed: int, each: object = each) -> float:
            return min(share_kept(each, subject, seed, times) for subject in KEYS.values())  # type: ignore[arg-type]

        share = min(forked(worst, scale.seeds, scale.jobs))
        yield Row(f"honest records kept in a flood: {each.name}", "unbounded", share, 0.99)


def sweep(scale: Scale) -> Iterator[Row]:
    """One seed: what is counted hardly differs between them."""
    nodes, chunks = scale.network(1_000, 60), scale.size(100_000, 2_000)
    lookups = min(LOOKED_FOR, scale.lookups)
    [(cost, found)] = forked(lambda seed: sweep_cell(nodes, chunks, seed, lookups), scale.seeds[:1])
    share = chunks / 100_000
    what = f"{chunks:,} chunk ids, N = {nodes:,}"
    most = max(10.0, _SWEEP_SECONDS * share)
    yield Row(f"{what}: virtual time", "days", cost.seconds, most, "s", at_most=True)
    most = _MOST_SENT_MB * share
    yield Row(f"{what}: sent", "-", cost.sent / 1e6, most, "MB", at_most=True)
    yield Row(f"{what}: a random one found", "-", found, 0.999)


def hot_tag(scale: Scale) -> Iterator[Row]:
    """One seed, as it takes minutes."""
    nodes, entries = scale.network(200, 30), scale.size(100_000, 1_500)
    [found] = forked(lambda seed: hot_tag_cell(nodes, entries, seed), scale.seeds[:1])
    what = f"a tag with {entries:,} entries"
    yield Row(f"{what}: entries of the first lookup", "0", found.first, 1)
    yield Row(f"{what}: all of it", "impossible", found.share, 0.99)
    a_shard = found.bytes_a_shard / 1e6
    yield Row(f"{what}: on any node, a shard", "-", a_shard, _MOST_MB_A_SHARD, "MB", at_most=True)


CELLS = (Cell("store-flood", flood), Cell("sweep", sweep), Cell("hot-tag", hot_tag))
