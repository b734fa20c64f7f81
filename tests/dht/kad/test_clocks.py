"""Whose clock is wrong is settled by the median of those heard last."""

from __future__ import annotations

from p2pfs.dht.kad.clocks import Clocks


def test_a_few_liars_do_not_move_the_median() -> None:
    clocks = Clocks()
    assert clocks.ahead() is None
    for number in range(7):
        clocks.saw(bytes([number]), 1_000.0, 400.0)
    for number in range(3):
        clocks.saw(bytes([100 + number]), 1e9, 400.0)
        clocks.saw(bytes([100 + number]), 1e9, 400.0)
    assert clocks.ahead() == 600.0


def test_only_the_last_nodes_count() -> None:
    clocks = Clocks()
    for number in range(1_000):
        clocks.saw(number.to_bytes(2, "big"), 0.0 if number < 900 else 50.0, 0.0)
    assert clocks.ahead() == 50.0
