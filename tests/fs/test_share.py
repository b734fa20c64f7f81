"""The writable folder, through a real mount and behind it."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from p2pfs.fs import share
from p2pfs.fs.descriptors import Descriptor
from p2pfs.fs.mount import open_mount
from p2pfs.identity import peer_id
from p2pfs.store.share import Share, ShareState
from tests.fs.conftest import Mounted, ask, operations_of, until
from tests.fs.fakes import OWN, FakeLibrary, cid_of

pytestmark = pytest.mark.kernel
LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2


async def fails_with(number: int, call: object, *arguments: object, **named: object) -> None:
    with pytest.raises(OSError) as caught:
        await ask(call, *arguments, **named)  # type: ignore[arg-type]
    assert caught.value.errno == number, caught.value


def renameat2(old: Path, new: Path, flags: int) -> None:
    if LIBC.renameat2(AT_FDCWD, bytes(old), AT_FDCWD, bytes(new), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


async def test_what_is_written_is_in_the_real_folder_and_ingest_is_told(mounted: Mounted) -> None:
    content = os.urandom(3_000_001)
    await ask(os.mkdir, mounted.share / "music")
    await ask((mounted.share / "music/song.mp3").write_bytes, content)
    assert (mounted.real / "music/song.mp3").read_bytes() == content
    assert await ask((mounted.share / "music/song.mp3").read_bytes) == content
    await until(lambda: ("closed", "music/song.mp3") in mounted.library.ingest.hints.told)
    told = mounted.library.ingest.hints.told
    assert told.index(("opened", "music/song.mp3")) < told.index(("closed", "music/song.mp3"))
    assert ("changed", "music/song.mp3") in told


async def test_reading_tells_ingest_nothing(mounted: Mounted) -> None:
    (mounted.real / "song.mp3").write_bytes(b"la")
    assert await ask((mounted.share / "song.mp3").read_bytes) == b"la"
    assert mounted.library.ingest.hints.told == []


async def test_what_changes_behind_the_mount_shows(mounted: Mounted) -> None:
    (mounted.real / "a").write_bytes(b"first")
    assert await ask((mounted.share / "a").read_bytes) == b"first"
    (mounted.real / "b").write_bytes(b"another file of this name")
    (mounted.real / "b").rename(mounted.real / "a")
    await until_equal(mounted.share / "a", b"another file of this name")
    (mounted.real / "a").unlink()
    assert await ask(os.listdir, mounted.share) == []


async def until_equal(path: Path, content: bytes) -> None:
    for _ in range(200):
        if await ask(path.read_bytes) == content:
            return
        await ask(os.listdir, path.parent)
    assert await ask(path.read_bytes) == content


async def test_everything_a_file_can_have_can_be_set(mounted: Mounted) -> None:
    path, real = mounted.share / "file", mounted.real / "file"
    await ask(path.write_bytes, b"0123456789")
    await ask(os.chmod, path, 0o640)
    await ask(os.chown, path, os.getuid(), 12345 if os.geteuid() == 0 else os.getgid())
    await ask(os.utime, path, ns=(1_000_000_001, 2_000_000_002))
    await ask(os.truncate, path, 4)
    await ask(os.utime, path, ns=(1_000_000_001, 2_000_000_002))
    shown, found = await ask(os.stat, path), real.stat()
    for name in ("mode", "uid", "gid", "size", "mtime_ns", "nlink", "blocks"):
        assert getattr(shown, f"st_{name}") == getattr(found, f"st_{name}"), name
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    assert real.read_bytes() == b"0123"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_a_new_entry_has_the_mode_its_maker_wants(mounted: Mounted, umask: int) -> None:
    script = f"umask {umask:04o}; cd '{mounted.share}'; mkdir d; : > f; mkfifo p"
    await ask(subprocess.run, ["sh", "-c", script], check=True)
    assert stat.S_IMODE((mounted.real / "d").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((mounted.real / "f").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((mounted.real / "p").stat().st_mode) == 0o666 & ~umask


async def test_a_file_made_read_only_can_still_be_written_by_its_maker(mounted: Mounted) -> None:
    fd = await ask(os.open, mounted.share / "f", os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o400)
    await ask(os.write, fd, b"content")
    await ask(os.ftruncate, fd, 3)
    await ask(os.fsync, fd)
    await ask(os.fdatasync, fd)
    assert (await ask(os.fstat, fd)).st_size == 3
    await ask(os.close, fd)
    assert (mounted.real / "f").read_bytes() == b"con"


async def test_appending_and_cutting_at_open_work(mounted: Mounted) -> None:
    path = mounted.share / "log"
    for line in (b"one\n", b"two\n"):
        with await ask(open, path, "ab") as file:
            await ask(file.write, line)
            await ask(file.close)
    assert (mounted.real / "log").read_bytes() == b"one\ntwo\n"
    await ask(path.write_bytes, b"new")
    assert (mounted.real / "log").read_bytes() == b"new"


async def test_a_removed_file_lives_as_long_as_it_is_open(mounted: Mounted) -> None:
    path = mounted.share / "f"
    fd = await ask(os.open, path, os.O_CREAT | os.O_RDWR)
    await ask(os.write, fd, b"alive")
    await ask(os.unlink, path)
    found = await ask(os.fstat, fd)
    assert (found.st_size, found.st_nlink) == (5, 0)
    assert await ask(os.pread, fd, 10, 0) == b"alive"
    await ask(os.fchmod, fd, 0o600)
    await ask(path.write_bytes, b"another")
    assert await ask(os.pread, fd, 10, 0) == b"alive"
    assert (await ask(os.stat, path)).st_ino != found.st_ino
    await ask(os.close, fd)
    await until(lambda: mounted.library.ingest.hints.told.count(("closed", "f")) == 2)
    assert ("removed", "f") in mounted.library.ingest.hints.told


async def test_renaming_keeps_what_is_open_and_tells_ingest_where_it_went(
    mounted: Mounted,
) -> None:
    await ask(os.mkdir, mounted.share / "old")
    fd = await ask(os.open, mounted.share / "old/f", os.O_CREAT | os.O_RDWR)
    await ask(os.rename, mounted.share / "old", mounted.share / "new")
    await ask(os.write, fd, b"after")
    await ask(os.close, fd)
    assert await ask((mounted.share / "new/f").read_bytes) == b"after"
    await until(lambda: ("closed", "new/f") in mounted.library.ingest.hints.told)
    assert ("renamed", "old", "new") in mounted.library.ingest.hints.told


async def test_renaming_with_flags(mounted: Mounted) -> None:
    one, two = mounted.share / "one", mounted.share / "two"
    await ask(one.write_bytes, b"1")
    await ask(two.write_bytes, b"2")
    await fails_with(errno.EEXIST, renameat2, one, two, NOREPLACE)
    await ask(renameat2, one, two, EXCHANGE)
    assert (await ask(one.read_bytes), await ask(two.read_bytes)) == (b"2", b"1")
    await ask(renameat2, one, mounted.share / "three", NOREPLACE)
    assert sorted(os.listdir(mounted.real)) == ["three", "two"]
    await fails_with(errno.ENOENT, renameat2, one, two, EXCHANGE)


async def test_renaming_over_another_replaces_it(mounted: Mounted) -> None:
    one, two = mounted.share / "one", mounted.share / "two"
    await ask(one.write_bytes, b"1")
    await ask(two.write_bytes, b"2")
    fd = await ask(os.open, two, os.O_RDONLY)
    await ask(os.rename, one, two)
    assert await ask(two.read_bytes) == b"1"
    assert await ask(os.pread, fd, 1, 0) == b"2"
    await ask(os.close, fd)


async def test_links_work_and_are_never_followed_by_us(mounted: Mounted, tmp_path: Path) -> None:
    share = mounted.share
    await ask((share / "file").write_bytes, b"content")
    await ask(os.link, share / "file", share / "hard")
    assert (await ask(os.stat, share / "hard")).st_nlink == 2
    assert (await ask(os.stat, share / "hard")).st_ino == (
        await ask(os.stat, share / "file")
    ).st_ino
    await ask(os.unlink, share / "file")
    assert await ask((share / "hard").read_bytes) == b"content"
    await ask(os.symlink, "hard", share / "soft")
    assert await ask(os.readlink, share / "soft") == "hard"
    assert await ask((share / "soft").read_bytes) == b"content"
    await ask(os.utime, share / "soft", ns=(1, 2), follow_symlinks=False)
    assert os.stat(mounted.real / "soft", follow_symlinks=False).st_mtime_ns == 2
    await ask(os.lchown, share / "soft", os.getuid(), os.getgid())
    assert (mounted.real / "hard").stat().st_mtime_ns != 2


async def test_directories_come_and_go(mounted: Mounted) -> None:
    folder = mounted.share / "d"
    await ask(os.mkdir, folder)
    await ask((folder / "f").touch)
    await fails_with(errno.ENOTEMPTY, os.rmdir, folder)
    await fails_with(errno.EEXIST, os.mkdir, folder)
    await ask(os.unlink, folder / "f")
    await ask(os.rmdir, folder)
    await fails_with(errno.ENOENT, os.stat, folder)
    fd = await ask(os.open, mounted.share, os.O_RDONLY | os.O_DIRECTORY)
    await ask(os.fsync, fd)
    await ask(os.close, fd)


async def test_a_large_directory_is_listed_whole_and_anew_after_rewinding(
    mounted: Mounted,
) -> None:
    for number in range(2_000):
        (mounted.real / f"{number:04}").touch()
    assert len(await ask(os.listdir, mounted.share)) == 2_000
    (mounted.real / b"\xff\xfe not text".decode("utf-8", "surrogateescape")).touch()
    names = await ask(os.listdir, bytes(mounted.share))
    assert b"\xff\xfe not text" in names
    assert len(names) == 2_001
    out = await ask(subprocess.run, ["ls", "-a", mounted.share], capture_output=True, check=True)
    assert out.stdout.startswith(b".\n..\n")


async def test_a_directory_swapped_for_a_link_behind_the_mount_leads_nowhere(
    mounted: Mounted, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (mounted.real / "d").mkdir()
    (mounted.real / "d/secret").write_bytes(b"mine")
    fd = await ask(os.open, mounted.share / "d", os.O_RDONLY | os.O_DIRECTORY)
    (mounted.real / "d").rename(tmp_path / "taken away")
    (mounted.real / "d").symlink_to(outside)
    with pytest.raises(OSError):
        await ask(os.open, "secret", os.O_RDONLY, dir_fd=fd)
    with pytest.raises(OSError):
        await ask(os.open, "new", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    await ask(os.close, fd)
    assert os.listdir(outside) == ["secret"]


async def test_no_device_and_no_over_long_name_is_made(mounted: Mounted) -> None:
    if os.geteuid() == 0:
        device = os.makedev(1, 3)
        await fails_with(
            errno.EPERM, os.mknod, mounted.share / "null", stat.S_IFCHR | 0o666, device
        )
    await fails_with(errno.ENAMETOOLONG, os.symlink, "x", mounted.share / ("x" * 256))
    await ask((mounted.share / "f").touch)
    await fails_with(
        errno.ENAMETOOLONG, os.rename, mounted.share / "f", mounted.share / ("x" * 256)
    )


async def test_extended_attributes_are_the_real_files_and_ours(mounted: Mounted) -> None:
    path, real = mounted.share / "song.mp3", mounted.real / "song.mp3"
    await ask(path.write_bytes, b"la")
    await ask(os.setxattr, path, "user.comment", b"nice")
    assert os.getxattr(real, "user.comment") == b"nice"
    await fails_with(errno.EEXIST, os.setxattr, path, "user.comment", b"", os.XATTR_CREATE)
    await fails_with(errno.ENODATA, os.setxattr, path, "user.other", b"", os.XATTR_REPLACE)
    state = b"waiting: until it has been still"
    assert await ask(os.getxattr, path, "user.p2pfs.state") == state
    await fails_with(errno.ENODATA, os.getxattr, path, "user.p2pfs.cid")
    assert await ask(os.listxattr, path) == ["user.comment"]
    for name in ("user.p2pfs.state", "user.p2pfs.cid", "user.p2pfs.new"):
        await fails_with(errno.ENOTSUP, os.setxattr, path, name, b"x")
        await fails_with(errno.ENOTSUP, os.removexattr, path, name)
    publish(mounted, b"song.mp3", b"la")
    expected = {
        "user.p2pfs.state": b"published",
        "user.p2pfs.cid": str(cid_of(b"la")).encode(),
        "user.p2pfs.tags": b"music",
        "user.p2pfs.crc32": b"0000beef",
        "user.p2pfs.mime": b"audio/mpeg",
        "user.p2pfs.publisher": peer_id(OWN.public_key).encode(),
        "user.p2pfs.published": b"2023-11-14T22:13:20Z",
        "user.p2pfs.cached": b"100",
        "user.xdg.tags": b"music",
        "user.mime_type": b"audio/mpeg",
    }
    for name, value in expected.items():
        assert await ask(os.getxattr, path, name) == value, name
    assert await ask(os.listxattr, path) == ["user.comment", "user.xdg.tags", "user.mime_type"]
    await ask(os.setxattr, path, "user.xdg.tags", b"jazz")
    assert await ask(os.getxattr, path, "user.xdg.tags") == b"jazz"
    hints = mounted.library.ingest.hints
    assert hints.told.count(("retagged", "song.mp3")) == 1
    await ask(os.setxattr, path, "user.p2pfs.tags", b"blues")
    assert os.getxattr(real, "user.xdg.tags") == b"blues"
    await ask(os.removexattr, path, "user.p2pfs.tags")
    await fails_with(errno.ENODATA, os.getxattr, real, "user.xdg.tags")
    assert hints.told.count(("retagged", "song.mp3")) == 3
    await ask(os.removexattr, path, "user.comment")
    await ask(path.write_bytes, b"another song")
    await fails_with(errno.ENODATA, os.getxattr, path, "user.p2pfs.cid")
    assert await ask(os.listxattr, mounted.share) == []


def publish(mounted: Mounted, path: bytes, content: bytes) -> None:
    found = os.stat(bytes(mounted.real) + b"/" + path)
    mounted.library.shares.rows[path] = Share(
        path=path,
        dev=found.st_dev,
        ino=found.st_ino,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        cid=cid_of(content),
        crc32=0xBEEF,
        mime="audio/mpeg",
        name="song.mp3",
        title="",
        tags=("music",),
        state=ShareState.PUBLISHED,
        seq=1_700_000_000_000,
    )
    mounted.library.ingest.states[path] = ShareState.PUBLISHED, ""


@pytest.mark.parametrize("quiet", [True, False])
async def test_where_a_close_may_fail_the_writer_is_told(
    tmp_path: Path, library: FakeLibrary, monkeypatch: pytest.MonkeyPatch, quiet: bool
) -> None:
    def over_quota(file: Descriptor) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(Descriptor, "flush", over_quota)
    monkeypatch.setattr(share, "closes_quietly", lambda _: quiet)
    async with open_mount(tmp_path / "mount", operations_of(library)) as mount:
        path = mount.path / "share" / "a"
        if quiet:
            await ask(path.write_bytes, b"a")
        else:
            await fails_with(errno.EDQUOT, path.write_bytes, b"a")


SCRIBBLE = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
    memory[50_000:50_005] = b"hello"
    memory.flush()
"""


async def test_memory_maps_write_through(mounted: Mounted) -> None:
    path = mounted.share / "mapped"
    await ask(path.write_bytes, bytes(100_000))
    # In another process: a page fault holds the interpreter lock that the answer would need.
    await ask(subprocess.run, [sys.executable, "-c", SCRIBBLE, path], check=True)
    assert (mounted.real / "mapped").read_bytes()[50_000:50_005] == b"hello"


async def test_random_reads_writes_and_cuts_agree_with_a_real_file(
    mounted: Mounted, tmp_path: Path
) -> None:
    def play(path: Path) -> list[bytes]:
        moves, seen = random.Random(7117), []
        fd = os.open(path, os.O_CREAT | os.O_RDWR)
        for _ in range(300):
            offset, length = moves.randrange(300_000), moves.randrange(40_000)
            match moves.randrange(4):
                case 0 | 1:
                    os.pwrite(fd, moves.randbytes(length), offset)
                case 2:
                    seen.append(os.pread(fd, length, offset))
                case 3 if moves.randrange(5) == 0:
                    os.ftruncate(fd, offset)
        os.close(fd)
        return [*seen, path.read_bytes()]

    assert await ask(play, mounted.share / "f") == play(tmp_path / "f")


async def test_ordinary_tools_work(mounted: Mounted, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a/b").mkdir(parents=True)
    for number in range(20):
        (source / f"a/b/{number}").write_bytes(random.randbytes(number * 1000))
    (source / "a/link").symlink_to("b/3")
    script = """
    set -e
    cp -a source mount/share/copied
    diff -r source mount/share/copied
    tar -C mount/share -cf t.tar copied
    mkdir mount/share/again
    tar -C mount/share/again -xf t.tar
    diff -r source mount/share/again/copied
    find mount/share -type f | wc -l
    rm -r mount/share/copied mount/share/again
    test -z "$(ls mount/share)"
    """
    done = await ask(
        subprocess.run, ["sh", "-c", script], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.strip() == b"40"


DATABASE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE t (n INTEGER)")
for number in range(50):
    with connection:
        connection.execute("INSERT INTO t VALUES (?)", (number,))
assert connection.execute("SELECT sum(n) FROM t").fetchone()[0] == sum(range(50))
connection.close()
"""


async def test_a_database_works(mounted: Mounted) -> None:
    command = [sys.executable, "-c", DATABASE, mounted.share / "db.sqlite"]
    await ask(subprocess.run, command, check=True)
    assert os.listdir(mounted.real) == ["db.sqlite"]
