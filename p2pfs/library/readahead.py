"""How far to read ahead of each reader, and how much all of them may together.

Pure: it sees offsets and lengths, and answers with spans; `reading` hands them to a download.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfs.transfer.run import Span

KIB, MIB = 1024, 1024 * 1024
# Over all open files: a second of 500 Mbit/s.  What is ahead lies on disk, not in memory.
AHEAD_BUDGET_BYTES = 64 * MIB
# One reader: enough for several peers at once, each with requests that overlap.
_MAX_WINDOW_BYTES = 32 * MIB
# From here on twice what was read.  Before, as much, or half of it for who began elsewhere than at
# the beginning: the kernel asks ahead as well, by up to 1 MiB at a time, so of what looks read in
# sequence such a reader may have wanted a third.
_CAUTIOUS_BYTES = 4 * MIB
# The kernel's requests overtake each other by as much as it asks for at once.
_DISORDER_BYTES = MIB
# A window is moved when this much of it was read: not with each of the kernel's requests.
_STEPS_A_WINDOW = 8
_MIN_STEP_BYTES = 128 * KIB
# Streams of one open file that are told apart: video, audio, subtitles, index.
_MAX_STREAMS = 4
# A reader that has not moved for so long holds none of the budget, though it keeps its window.
_HOLD_SECONDS = 5.0


class Stream:
    """One sequence of reads: where it is, how much it has read, where its window was moved."""

    def __init__(self, offset: int, stop: int) -> None:
        self.position = stop
        self.read_bytes = stop - offset
        self._caution = 1 if offset == 0 else 2
        # A lone read elsewhere may be all that is wanted; who begins at the beginning goes on.
        self.next_step = 0 if offset == 0 else stop + 1

    def continues_at(self, offset: int) -> bool:
        return abs(offset - self.position) <= _DISORDER_BYTES

    def advance(self, offset: int, stop: int) -> None:
        if stop > self.position:
            self.read_bytes += stop - max(offset, self.position)
            self.position = stop

    @property
    def wanted_bytes(self) -> int:
        """Never more than twice what was read in sequence."""
        is_sure = self.read_bytes >= _CAUTIOUS_BYTES
        wanted = 2 * self.read_bytes if is_sure else self.read_bytes // self._caution
        return min(wanted, _MAX_WINDOW_BYTES)


class ReadAhead:
    """The streams of one open file."""

    def __init__(self) -> None:
        self._streams: list[Stream] = []

    def stream_of(self, offset: int, stop: int) -> tuple[Stream, Stream | None]:
        """The stream that a read belongs to, counted in; and one that was given up for it."""
        for stream in self._streams:
            if stream.continues_at(offset):
                stream.advance(offset, stop)
                self._streams.remove(stream)
                self._streams.append(stream)
                return stream, None
        stream = Stream(offset, stop)
        self._streams.append(stream)
        return stream, self._streams.pop(0) if len(self._streams) > _MAX_STREAMS else None

    @property
    def streams(self) -> list[Stream]:
        return self._streams


def window(stream: Stream, granted: int, size: int) -> Span:
    """The bytes to have, next after those read; the stream is asked again a step further."""
    stream.next_step = stream.position + max(granted // _STEPS_A_WINDOW, _MIN_STEP_BYTES)
    return stream.position, min(stream.position + granted, size)


class Budget:
    """Shares out what may be read ahead over all open files."""

    def __init__(self, total: int = AHEAD_BUDGET_BYTES) -> None:
        self._total = total
        self._held: dict[object, tuple[int, float]] = {}

    def grant(self, holder: object, wanted: int, now: float) -> int:
        """How far ahead `holder` may have read from now on: its fair part, of what is left."""
        self._held.pop(holder, None)
        self._held = {
            other: held for other, held in self._held.items() if now - held[1] < _HOLD_SECONDS
        }
        left = self._total - sum(size for size, _ in self._held.values())
        granted = max(0, min(wanted, self._total // (len(self._held) + 1), left))
        self._held[holder] = granted, now
        return granted

    def release(self, holder: object) -> None:
        self._held.pop(holder, None)
