from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from p2pfs.fs.assembly import build_operations
from p2pfs.fs.mount import Mount, open_mount
from p2pfs.fs.operations import Operations
from tests.fs.fakes import OWN, FakeLibrary

T = TypeVar("T")
# A call on the mount that takes longer hangs, and would hang the whole run.
HANGS_SECONDS = 20.0


async def ask(call: Callable[..., T], *arguments: object, **named: object) -> T:
    """A call on the mount, from a thread: the loop has to answer it."""
    with trio.fail_after(HANGS_SECONDS):
        return await trio.to_thread.run_sync(
            partial(call, *arguments, **named), abandon_on_cancel=True
        )


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what the kernel or another thread brings about, and tells nobody."""
    with trio.fail_after(HANGS_SECONDS):
        while not holds():  # noqa: ASYNC110 nothing to wait for
            await trio.sleep(0.01)


@dataclass
class Mounted:
    """A real mount over a fake library."""

    path: Path
    library: FakeLibrary
    operations: Operations
    mount: Mount

    @property
    def share(self) -> Path:
        return self.path / "share"

    @property
    def real(self) -> Path:
        return self.library.folder


@pytest.fixture
def library(tmp_path: Path) -> FakeLibrary:
    folder = tmp_path / "real"
    folder.mkdir()
    return FakeLibrary(folder)


def operations_of(library: FakeLibrary) -> Operations:
    return build_operations(
        library.reading,  # type: ignore[arg-type]
        library.searches,  # type: ignore[arg-type]
        library.shares,  # type: ignore[arg-type]
        library.ingest,  # type: ignore[arg-type]
        library.folders,  # type: ignore[arg-type]
        OWN,
        library.pages,
    )


@pytest.fixture
async def mounted(tmp_path: Path, library: FakeLibrary) -> AsyncIterator[Mounted]:
    operations = operations_of(library)
    async with open_mount(tmp_path / "mount", operations) as mount:
        yield Mounted(mount.path, library, operations, mount)
