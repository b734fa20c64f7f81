"""An asyncio loop on virtual time: it never sleeps, but jumps to the next thing that is due.

No sockets, no threads, no signals: whatever happens was scheduled by what runs on it, so the same
beginning always leads to the same end.
"""

from __future__ import annotations

import asyncio


class StuckError(RuntimeError):
    """Everybody waits for somebody else, and no timer will ever change that."""


class _Jump:
    """In the selector's place: waiting is moving the clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise StuckError("nothing is ready, and nothing is due")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Time begins at 0 and passes only while nobody has anything to do."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Jump()
        self._clock_resolution = 1e-9  # what floats of some days can tell apart

    def time(self) -> float:
        return self._selector.now

    def _process_events(self, event_list: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else is there who could be asleep."""
