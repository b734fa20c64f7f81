"""The bars of `bench.overlay` in small networks; the whole table is `python -m bench.overlay`."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [
        "misrouting",
        "from-birth",
        "recall",
        "record-liars",
        "eclipse",
        "dead-contacts",
        "churn-60",
        "amplification",
        "first-contacts",
        "store-flood",
        "sweep",
        "hot-tag",
        "cancelled",
        "stop",
        "thousand",
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
