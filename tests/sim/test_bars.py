"""The bars of `bench.overlay` in small networks; the whole table is `python -m bench.overlay`."""

from __future__ import annotations

import subprocess
import sys

import pytest


def missed(cell: str, why: str) -> object:
    """A cell that does not reach its bar yet; when it does, this line must go."""
    return pytest.param(cell, marks=pytest.mark.xfail(reason=why))


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [
        "misrouting",
        missed("from-birth", "where half of all nodes have always lied, tables hold mostly liars"),
        "recall",
        "record-liars",
        "eclipse",
        "dead-contacts",
        "amplification",
        "first-contacts",
        "cancelled",
        "stop",
    ],
)
def test_a_small_network_reaches_the_bars(cell: str) -> None:
    # A process of its own, since it forks.
    done = subprocess.run(
        [sys.executable, "-m", "bench.overlay", "--small", "--cells", cell],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
