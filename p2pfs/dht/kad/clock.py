"""The clock for intervals: that of the loop, so that a step of the wall clock changes nothing.

In simulations the loop's time is virtual.  What others read (records, proofs) counts UNIX seconds,
by `Settings.clock`.
"""

from __future__ import annotations

import asyncio


def monotonic() -> float:
    """Seconds since some point in the past; raises RuntimeError outside of the loop."""
    return asyncio.get_running_loop().time()
