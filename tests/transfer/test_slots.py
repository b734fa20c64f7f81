from __future__ import annotations

from typing import TYPE_CHECKING

from p2pfs.transfer.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = b"p" * 32


def test_the_last_slot_is_kept_for_blocked_readers() -> None:
    slots = Slots()
    assert slots.free(PEER, 2, urgent=False) == 1
    slots.take(PEER)
    assert slots.free(PEER, 2, urgent=False) == 0
    assert slots.free(PEER, 2, urgent=True) == 1


def test_a_lone_slot_is_for_everybody() -> None:
    assert Slots().free(PEER, 1, urgent=False) == 1


def test_who_waits_is_called_in_order_until_one_takes_the_slot() -> None:
    slots = Slots()
    called = []

    def asker(name: str, takes: bool) -> Callable[[], None]:
        def ask_again() -> None:
            called.append(name)
            if takes:
                slots.take(PEER)

        return ask_again

    slots.take(PEER)
    for name, takes in (("a", False), ("b", True), ("c", True)):
        slots.call_when_released(PEER, asker(name, takes))
    slots.release(PEER)
    assert called == ["a", "b"]
    slots.release(PEER)
    assert called == ["a", "b", "c"]


def test_who_asks_again_while_called_waits_for_the_next_turn() -> None:
    slots = Slots()
    called = []

    def ask_again() -> None:
        called.append(1)
        slots.call_when_released(PEER, ask_again)

    slots.take(PEER)
    slots.take(PEER)
    slots.call_when_released(PEER, ask_again)
    slots.release(PEER)
    assert len(called) == 1
    slots.forget(ask_again)
    slots.release(PEER)
    assert len(called) == 1
