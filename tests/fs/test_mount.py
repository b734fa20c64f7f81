from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from p2pfs.concurrency import open_nursery
from p2pfs.errors import FuseError
from p2pfs.fs import mount as mounting
from p2pfs.fs.kernel import mounted_at, raise_background_limit
from p2pfs.fs.mount import open_mount
from tests.fs.conftest import Mounted, ask, operations_of, until
from tests.fs.fakes import FakeLibrary

pytestmark = pytest.mark.kernel


async def test_a_mount_point_is_made_and_removed_again(
    tmp_path: Path, library: FakeLibrary
) -> None:
    path = tmp_path / "new folder" / "mount"
    async with open_mount(path, operations_of(library)) as mount:
        assert mount.path == path
        assert "README.txt" in await ask(os.listdir, path)
        found = mounted_at(path)
        assert found is not None
        assert found.kind == "fuse.p2pfs"
    assert not path.exists()


async def test_an_empty_directory_is_used_and_stays(tmp_path: Path, library: FakeLibrary) -> None:
    path = tmp_path / "mount"
    path.mkdir()
    link = tmp_path / "link"
    link.symlink_to(path)
    async with open_mount(link, operations_of(library)) as mount:
        assert mount.path == path
        assert "share" in await ask(os.listdir, path)
    assert os.listdir(path) == []


async def test_what_cannot_be_mounted_on_is_refused_with_advice(
    tmp_path: Path, library: FakeLibrary
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "precious").touch()
    file = tmp_path / "file"
    file.touch()
    for path, reason in ((full, "not empty"), (file, "no directory"), (file / "x", "cannot be")):
        with pytest.raises(FuseError, match=reason):
            async with open_mount(path, operations_of(library)):
                pass
    assert os.listdir(full) == ["precious"]


async def test_a_second_mount_over_a_live_one_is_refused(mounted: Mounted) -> None:
    with pytest.raises(FuseError, match="mounted already"):
        async with open_mount(mounted.path, operations_of(mounted.library)):
            pass
    assert "README.txt" in await ask(os.listdir, mounted.path)


async def test_mounting_again_and_again_works(tmp_path: Path, library: FakeLibrary) -> None:
    for _ in range(3):
        async with open_mount(tmp_path / "mount", operations_of(library)):
            assert "by-tag" in await ask(os.listdir, tmp_path / "mount")


async def test_a_busy_mount_is_unmounted_all_the_same(tmp_path: Path, library: FakeLibrary) -> None:
    path = tmp_path / "mount"
    async with open_mount(path, operations_of(library)):
        # It goes there by itself: a `cwd=` would be looked up with the interpreter's lock held.
        go = ["sh", "-c", 'cd "$1" && echo there && exec sleep 60', "sh", str(path / "by-tag")]
        user = await ask(partial(subprocess.Popen, go, stdout=subprocess.PIPE))
        assert user.stdout is not None
        assert await ask(user.stdout.readline) == b"there\n"
        user.stdout.close()
        # After the fork: a child first closes what it inherits, and the mount answers that.
        fd = await ask(os.open, path / "README.txt", os.O_RDONLY)
    try:
        assert mounted_at(path) is None
    finally:
        with pytest.raises(OSError):
            os.close(fd)
        user.kill()
        user.wait()


async def test_stuck_readers_do_not_hold_up_unmounting(
    tmp_path: Path, library: FakeLibrary
) -> None:
    path = tmp_path / "mount"
    content = b"never comes " * 100_000
    library.publish("t", "stuck.bin", content)
    library.reading.stuck.append(content)
    failed = []

    def read() -> None:
        try:
            (path / "by-tag/t/stuck.bin").read_bytes()
        except OSError as error:
            failed.append(error.errno)

    async with open_nursery() as nursery:
        async with open_mount(path, operations_of(library)):
            for _ in range(20):
                nursery.start_soon(ask, read)
            await until(lambda: library.reading.reads > 0)
            started = trio.current_time()
        assert trio.current_time() - started < 5
    assert len(failed) == 20
    assert mounted_at(path) is None


async def test_a_handler_that_cannot_be_ended_does_not_keep_the_mount(
    tmp_path: Path, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mount"
    monkeypatch.setattr(mounting, "_STUCK_SECONDS", 0.2)
    operations = operations_of(library)
    released, entered = trio.Event(), trio.Event()

    async def hold(_name: str) -> None:
        with trio.CancelScope(shield=True):
            entered.set()
            await released.wait()

    library.searches.later["t"] = {}
    monkeypatch.setattr(library.searches, "refresh", hold)

    async def free_when_unmounted() -> None:
        with trio.CancelScope(shield=True):
            await until(lambda: mounted_at(path) is None)
            released.set()

    def look() -> None:
        with pytest.raises(OSError):
            os.stat(path / "by-tag/t/nothing")

    async with open_nursery() as nursery, open_mount(path, operations):
        nursery.start_soon(ask, look)
        await entered.wait()
        nursery.start_soon(free_when_unmounted)
    assert mounted_at(path) is None


async def test_a_cancelled_node_unmounts(tmp_path: Path, library: FakeLibrary) -> None:
    path = tmp_path / "mount"
    with trio.CancelScope() as scope:
        async with open_mount(path, operations_of(library)):
            scope.cancel()
            await trio.sleep_forever()
    assert mounted_at(path) is None


async def test_a_failure_inside_comes_out_as_itself_and_unmounts(
    tmp_path: Path, library: FakeLibrary
) -> None:
    path = tmp_path / "mount"
    with pytest.raises(LookupError):
        async with open_mount(path, operations_of(library)):
            raise LookupError("of the node")
    assert mounted_at(path) is None


@pytest.mark.parametrize("command", [["umount"], ["umount", "-l"], ["fusermount3", "-u"]])
async def test_unmounting_by_hand_is_noticed(
    tmp_path: Path, library: FakeLibrary, command: list[str]
) -> None:
    path = tmp_path / "mount"
    async with open_mount(path, operations_of(library)) as mount:
        done = await trio.run_process([*command, str(path)], check=False)
        assert done.returncode == 0
        with trio.fail_after(5):
            await mount.wait_unmounted()
    assert mounted_at(path) is None


async def test_what_was_unmounted_by_hand_with_a_reader_waiting_ends_too(
    tmp_path: Path, library: FakeLibrary
) -> None:
    path = tmp_path / "mount"
    library.searches.hangs = True
    async with open_nursery() as nursery, open_mount(path, operations_of(library)) as mount:
        nursery.start_soon(ask, look_for_nothing, path)
        await until(lambda: library.searches.waiting > 0)
        await trio.run_process(["umount", "-l", str(path)])
        with trio.fail_after(5):
            await mount.wait_unmounted()


def look_for_nothing(path: Path) -> None:
    with pytest.raises(OSError):
        os.stat(path / "by-tag/t/nothing")


CHILD = """
import os, sys, trio
from pathlib import Path
from p2pfs.fs.mount import open_mount
from tests.fs.conftest import operations_of
from tests.fs.fakes import FakeLibrary

async def main(path, folder):
    library = FakeLibrary(folder)
    library.publish("t", "song.mp3", b"la la la")
    async with open_mount(path, operations_of(library)) as mount:
        print("ready", mount.max_background, flush=True)
        with trio.open_signal_receiver(15) as signals:
            async for _ in signals:
                break

if len(sys.argv) > 3:  # only now: the interpreter itself may be for root alone
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
"""


def start_child(path: Path, folder: Path, user: int | None = None) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    arguments = [str(path), str(folder)] + ([] if user is None else [str(user)])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("ready")
    return child


async def test_what_a_killed_process_left_is_healed(tmp_path: Path, library: FakeLibrary) -> None:
    path = tmp_path / "mount"
    child = await ask(start_child, path, library.folder)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with pytest.raises(OSError) as caught:
        os.stat(path)
    assert caught.value.errno == errno.ENOTCONN
    async with open_mount(path, operations_of(library)):
        assert "README.txt" in await ask(os.listdir, path)
    assert mounted_at(path) is None
    assert os.listdir(path) == []


NOBODY = 65534
USER_STORY = """
set -e
cd "$1"
test "$(cat by-tag/t/song.mp3)" = 'la la la'
mkdir share/new
echo mine > share/new/x
test "$(cat share/new/x)" = mine
test "$(stat -c %u share/new/x)" = 65534
! touch by-tag/t/y 2> ../error
grep -q 'Read-only file system' ../error
! rm -f by-tag/t/song.mp3 2> ../error
grep -q 'Read-only file system' ../error
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes somebody else here")
def test_an_ordinary_user_mounts_reads_writes_and_unmounts() -> None:
    with tempfile.TemporaryDirectory(prefix="p2pfs-") as home:
        os.chown(home, NOBODY, NOBODY)
        story = (
            "import sys; from tests.fs.test_mount import live_as_nobody as live; live(sys.argv[1])"
        )
        # In a mount namespace of its own, where /dev/fuse may have its usual mode.
        done = subprocess.run(
            ["unshare", "--mount", sys.executable, "-c", story, home],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert (Path(home) / "real" / "new" / "x").read_text() == "mine\n"


def live_as_nobody(home: str) -> None:
    with tempfile.TemporaryDirectory() as other:
        device = f"{other}/fuse"
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
        os.chmod(device, 0o666)  # noqa: S103 as everywhere
        subprocess.run(["mount", "--bind", device, "/dev/fuse"], check=True)
        path, folder = Path(home) / "mount", Path(home) / "real"
        folder.mkdir()
        os.chown(folder, NOBODY, NOBODY)
        child = start_child(path, folder, user=NOBODY)
        try:
            subprocess.run(
                ["sh", "-c", USER_STORY, "sh", str(path)],
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                timeout=20,
                check=True,
            )
        finally:
            started = time.monotonic()
            child.terminate()
            child.communicate()
            subprocess.run(["umount", "/dev/fuse"], check=True)
        assert time.monotonic() - started < 5
        assert child.returncode == 0
        assert mounted_at(path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount fusectl")
async def test_as_many_reads_may_wait_as_the_kernel_can_be_told(mounted: Mounted) -> None:
    found = mounted_at(mounted.path)
    assert found is not None
    with tempfile.TemporaryDirectory() as control:
        await trio.run_process(["mount", "-t", "fusectl", "none", control])
        try:
            assert raise_background_limit(found, Path(control)) == 500
            assert (Path(control) / found.minor / "congestion_threshold").read_text() == "500\n"
        finally:
            await trio.run_process(["umount", control])
