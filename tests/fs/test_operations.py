"""Whatever a handler meets, the caller gets an errno and the mount lives on."""

from __future__ import annotations

import errno
import inspect
import os
from collections.abc import Callable
from pathlib import Path

import pyfuse3
import pytest

from p2pfs.fs.operations import Operations
from tests.fs.conftest import Mounted, ask, operations_of
from tests.fs.fakes import FakeLibrary

HANDLERS = [name for name, _ in inspect.getmembers(pyfuse3.Operations, inspect.iscoroutinefunction)]
# pyfuse3's own answers ENOSYS, and the kernel then polls as for any file.
NOT_OURS = {"poll"}


class Broken:
    """In the place of a part that has a bug everywhere."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"a bug in {name}")

    def __getitem__(self, name: object) -> object:
        raise RuntimeError("a bug")


def break_all(operations: Operations) -> Callable[[], None]:
    """Put a broken part in every place; what puts them right again."""
    parts = dict(vars(operations))
    for name in ("_tree", "_views", "_share", "_xattrs", "_handles"):
        assert name in parts
        setattr(operations, name, Broken())
    return lambda: vars(operations).update(parts)


def test_there_are_handlers_for_all_that_the_kernel_asks() -> None:
    assert len(HANDLERS) > 25
    for name in set(HANDLERS) - NOT_OURS:
        assert name in vars(Operations), name


@pytest.mark.parametrize("name", sorted(set(HANDLERS) - NOT_OURS - {"forget", "access"}))
async def test_any_exception_becomes_eio_and_is_logged(
    name: str, library: FakeLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    operations = operations_of(library)
    break_all(operations)
    handler = getattr(operations, name)
    arguments = [1 for _ in inspect.signature(handler).parameters]
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await handler(*arguments)
    assert caught.value.errno == errno.EIO
    assert name in caplog.text
    assert "a bug" in caplog.text


async def test_what_nobody_waits_for_never_raises(library: FakeLibrary) -> None:
    operations = operations_of(library)
    break_all(operations)
    await operations.forget([(1, 1)])
    assert await operations.access(1, 1, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["read", "write", "flush", "fsync", "readdir", "fsyncdir"])
async def test_a_handle_that_is_not_open_is_ebadf(name: str, library: FakeLibrary) -> None:
    handler = getattr(operations_of(library), name)
    arguments = [4711 for _ in inspect.signature(handler).parameters]
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await handler(*arguments)
    assert caught.value.errno == errno.EBADF


@pytest.mark.kernel
async def test_a_mount_full_of_bugs_answers_and_lives_on(mounted: Mounted) -> None:
    share = mounted.share
    await ask((share / "file").write_bytes, b"before")
    opened = await ask(os.open, share / "file", os.O_RDWR)
    repair = break_all(mounted.operations)
    calls: list[tuple[Callable[..., object], tuple[object, ...]]] = [
        (os.stat, (mounted.path / "by-tag/x/y",)),
        (os.listdir, (mounted.path,)),
        (os.open, (share / "new", os.O_CREAT | os.O_RDWR)),
        (os.mkdir, (share / "folder",)),
        (os.mkfifo, (share / "fifo",)),
        (os.symlink, ("x", share / "link")),
        (os.unlink, (share / "file",)),
        (os.rename, (share / "file", share / "moved")),
        (os.chmod, (share / "file", 0o600)),
        (os.setxattr, (share / "file", "user.x", b"")),
        (os.listxattr, (share / "file",)),
        (os.statvfs, (mounted.path,)),
        (os.pread, (opened, 10, 0)),
        (os.pwrite, (opened, b"x", 0)),
        (os.fsync, (opened,)),
        (os.ftruncate, (opened, 0)),
        (os.close, (opened,)),
    ]
    for call, arguments in calls:
        with pytest.raises(OSError) as caught:
            await ask(call, *arguments)
        assert caught.value.errno == errno.EIO, call
    repair()
    assert await ask((share / "file").read_bytes) == b"before"
    assert "README.txt" in await ask(os.listdir, mounted.path)


@pytest.mark.kernel
async def test_a_library_full_of_bugs_harms_nobody_else(mounted: Mounted, tmp_path: Path) -> None:
    library = mounted.library
    library.publish("jazz", "song.mp3", b"la")
    for part in (library.reading, library.searches, library.ingest.hints):
        part.failure = RuntimeError("a bug")
    for call in (
        (mounted.path / "by-tag/jazz/song.mp3").read_bytes,
        lambda: os.listdir(mounted.path / "by-tag"),
        lambda: (mounted.share / "new").write_bytes(b""),
    ):
        with pytest.raises(OSError) as caught:
            await ask(call)
        assert caught.value.errno == errno.EIO
    library.pages["status"] = lambda: str(1 // 0).encode()
    with pytest.raises(OSError):
        await ask((mounted.path / ".p2pfs/status").read_bytes)
    assert await ask((mounted.path / ".p2pfs/status.json").read_bytes) == b"{}\n"
