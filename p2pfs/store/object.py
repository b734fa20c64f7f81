"""One content that is open: which of its bytes are here, and which of those are right.

Bytes are given only after they were hashed in this run of the node.  Fetching what is missing is
for `transfer`; the account of all objects is kept by `objects`, and what has to go is chosen by
`room`.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import trio

from p2pfs.content.cid import block_matches
from p2pfs.content.intervals import Intervals
from p2pfs.content.walk import Leaf, leaves
from p2pfs.errors import IntegrityError, ReadOnlyError
from p2pfs.store.errors import CacheError, ShareChangedError
from p2pfs.store.files import CacheFile
from p2pfs.store.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from p2pfs.content.cid import Cid
    from p2pfs.content.unixfs import FileNode
    from p2pfs.content.walk import Gap
    from p2pfs.store.dags import Dags, Frame
    from p2pfs.store.files import ExactStamp, ShareFile

    Span = tuple[int, int]

Changed = Callable[["Object"], None]
"""Told that there is something new to be saved of an object."""

# A few milliseconds of hashing: what another reader of the same object waits for at most.
_CHECK_BYTES = 4 * 1024 * 1024
# A leaf can be tiny; this bounds what is decided in the loop before a thread takes over.
_CHECK_LEAVES = 256


class Object:
    """A content of known size, in a file of the cache or in a share.

    `present` is what is here, `checked` the part of it that was hashed in this run; only this
    class changes them.  `read`, `read_into` and `write` block and are for worker threads, all
    else is for the loop's.
    """

    def __init__(
        self, cid: Cid, size: int, dags: Dags, file: CacheFile | ShareFile, changed: Changed
    ) -> None:
        self.cid = cid
        self.size = size
        self.presence = Presence(size)
        self.checked = Intervals()
        self.users = 0
        """How many have opened it and not closed it yet; `objects` counts."""
        self._dags = dags
        self._file = file
        self._changed = changed
        self._landed = Intervals()  # since the last `take_unsaved`
        self._marks = Lock()  # held by who changes `checked`, and by other threads to read it
        self._checking = trio.Lock()

    @property
    def present(self) -> Intervals:
        """What is here; to look at only."""
        return self.presence.present

    @property
    def is_share(self) -> bool:
        """Whether it lies in the share folder: whole, and not to be written."""
        return not isinstance(self._file, CacheFile)

    def node(self, cid: Cid) -> FileNode | None:
        """What a dag-pb block says, None if it is not known."""
        return self._dags.node(cid)

    def leaves(self, start: int, stop: int) -> Iterator[Leaf | Gap]:
        """The blocks with content that overlap a range, whole, as far as nodes are known.

        Raises MalformedError for a DAG that does not add up to `size`.
        """
        return leaves(self.cid, self.size, start, stop, self._dags.node)

    async def keep_nodes(self, nodes: Sequence[tuple[Cid, bytes]]) -> None:
        """Keep dag-pb blocks: known at once, there after a kill when this returns.

        Raises MalformedError for a block that is not its CID's.
        """
        if not self.is_share:  # else all of them are known
            await self._dags.keep_fetched(self.cid, nodes)

    def look_again(self) -> None:
        """Before a read: nothing counts as checked of a share that somebody may have written to."""
        if not isinstance(self._file, CacheFile) and self._file.has_moved_on():
            with self._marks:
                self.checked = Intervals()

    def read_nowait(self, start: int, length: int) -> bytearray | None:
        """The bytes, if they are checked and in the page cache; None if not.

        Raises ShareChangedError.
        """
        if not self.checked.covers(start, start + length):
            return None
        return self._file.read_nowait(start, length)

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes, which must be checked; blocking.

        Raises IntegrityError for unchecked ones, CacheError, ShareChangedError.
        """
        self._demand_checked(start, start + length)
        return self._file.read(start, length)

    def read_into(self, start: int, buffers: Sequence[memoryview]) -> None:
        """Fill the buffers, one after the other, with checked bytes; blocking, raises as `read`."""
        self._demand_checked(start, start + sum(map(len, buffers)))
        self._file.read_into(start, buffers)

    def write(self, start: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes of a block that was hashed at their place; blocking.

        They count once `landed` was called; a lease has to be held until then.  Raises
        NoSpaceError, CacheError.
        """
        if not isinstance(self._file, CacheFile):
            raise ReadOnlyError(f"{self.cid} is a share")
        if start + len(data) > self.size:
            raise IntegrityError(f"{self.cid} ends at {self.size}")
        self.presence.leases.wait_no_hole(start, start + len(data))
        self._file.write(start, data)

    def landed(self, start: int, stop: int) -> None:
        """What was hashed and written to this range is here from now on."""
        with self._marks:
            self.checked.add(start, stop)
        self.presence.add(start, stop)
        self._landed.add(start, stop)
        self._changed(self)

    async def check(self, start: int, stop: int) -> None:
        """Hash what is present of a range and was not hashed in this run, in whole leaves.

        What is wrong, or not a whole leaf, is not present any more afterwards; a share that is
        wrong raises ShareChangedError.
        """
        while True:
            async with self._checking:
                suspects = self._suspects(start, stop)
                if not suspects:
                    return
                verdicts = await trio.to_thread.run_sync(self._verdicts, suspects)
                self._settle(suspects, verdicts)

    def evict(self, start: int, stop: int, spared: Intervals) -> int:
        """Forget the leaves that overlap a range and nothing spared; the bytes of disk that go.

        They are given back by `punch`.
        """
        before = self.presence.disk_bytes
        for found in list(self.leaves(start, min(stop, self.size))):
            begin, end = found.start, found.stop
            if not isinstance(found, Leaf):  # of what is not known only this part
                begin, end = max(begin, start), min(end, stop)
            if not spared.overlaps(begin, end) and self.present.overlaps(begin, end):
                self.presence.close_windows(begin, end)
                self.forget(begin, end)
        return before - self.presence.disk_bytes

    async def punch(self) -> None:
        """Give back to the disk what is present no more, and is nobody's at the moment."""
        holes = [] if self.is_share else self.presence.take_holes()
        if not holes:
            return
        try:
            with trio.CancelScope(shield=True):  # a hole that is begun is ended
                await trio.to_thread.run_sync(self._punch, holes)
        finally:
            self.presence.holes_made(holes)

    def forget(self, start: int, stop: int) -> None:
        """What lies in this range is not present, and not checked."""
        with self._marks:
            self.checked.remove(start, stop)
        self.presence.remove(start, stop)
        self._landed.remove(start, stop)
        self._changed(self)

    def abandon(self, spans: Iterable[Span]) -> None:
        """What was written to these without landing is of no use."""
        self.presence.abandon(spans)
        if self.presence.has_dropped:
            self._changed(self)

    def doubt(self, start: int, stop: int) -> None:
        """Have this hashed again before its next use, but for what somebody is using now."""
        leased = self.presence.leases.spans()
        with self._marks:
            for gap in leased.gaps(start, stop):
                self.checked.remove(*gap)

    def recall(self, present: Intervals, checked: Intervals) -> None:
        """Take up what is known of the file from before it was opened."""
        self.presence.recall(present)
        self.checked = checked

    def take_unsaved(self) -> Intervals:
        """What has landed since this was last called."""
        landed, self._landed = self._landed, Intervals()
        return landed

    def put_back_unsaved(self, landed: Intervals) -> None:
        """What `take_unsaved` gave could not be saved."""
        for span in landed:
            for start, stop in self.present.overlaps(*span):
                self._landed.add(start, stop)
        self._changed(self)

    def stamp(self) -> ExactStamp | None:
        """Of its file; None if there is none, or if it is a share that has changed."""
        return self._file.stamp()

    def close(self) -> None:
        """Let go of the file, once no thread is using it."""
        self._file.close()

    def _punch(self, holes: list[Span]) -> None:
        assert isinstance(self._file, CacheFile)  # noqa: S101 a share has no holes
        for hole in holes:
            self._file.punch(*hole)

    def _demand_checked(self, start: int, stop: int) -> None:
        with self._marks:
            checked = self.checked.covers(start, stop)
        if not checked:
            raise IntegrityError(f"bytes {start} to {stop} of {self.cid} are not checked")

    def _suspects(self, start: int, stop: int) -> list[_Suspect]:
        """The next leaves to hash, none when the range is done."""
        suspects: list[_Suspect] = []
        size = 0
        for leaf in self._unchecked_leaves(start, stop):
            suspects.append(_Suspect(leaf, self._dags.frame(leaf.cid) if leaf.framed else None))
            size += leaf.stop - leaf.start
            if size >= _CHECK_BYTES or len(suspects) >= _CHECK_LEAVES:
                break
        return suspects

    def _unchecked_leaves(self, start: int, stop: int) -> Iterator[Leaf]:
        """Whole leaves that are present; what is present without its whole leaf is forgotten."""
        after = 0
        for gap in self.checked.gaps(start, stop):
            for begin, end in self.present.overlaps(*gap):
                for found in self.leaves(begin, end):
                    if not isinstance(found, Leaf) or not self.present.covers(*found[1:3]):
                        self.forget(max(found.start, begin), min(found.stop, end))
                    elif found.start >= after:  # else it was met in the gap before
                        after = found.stop
                        yield found

    def _verdicts(self, suspects: list[_Suspect]) -> list[bool]:
        """Whether each matches its hash; blocking."""
        return [suspect.is_right(self._file) for suspect in suspects]

    def _settle(self, suspects: list[_Suspect], verdicts: list[bool]) -> None:
        if not isinstance(self._file, CacheFile) and not all(verdicts):
            raise ShareChangedError(self._file.path)
        for (leaf, _), right in zip(suspects, verdicts, strict=True):
            if right and self.present.covers(leaf.start, leaf.stop):
                with self._marks:
                    self.checked.add(leaf.start, leaf.stop)
            elif not self.checked.covers(leaf.start, leaf.stop):  # else it has landed meanwhile
                self.forget(leaf.start, leaf.stop)


class _Suspect(NamedTuple):
    """A leaf to be hashed, and what is around its content if it is framed."""

    leaf: Leaf
    frame: Frame | None

    def is_right(self, file: CacheFile | ShareFile) -> bool:
        """Whether the file holds what the leaf's CID says; blocking.  Raises ShareChangedError."""
        leaf, frame = self
        if leaf.framed and frame is None:
            return False
        try:
            content = file.read(leaf.start, leaf.stop - leaf.start)
        except CacheError:
            return False
        return block_matches(leaf.cid, content if frame is None else frame.around(content))
