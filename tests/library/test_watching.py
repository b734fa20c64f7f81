"""What others do to the share folder, behind the mount, is noticed without looking for it."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
import trio
import trio.testing
from inotify_simple import INotify

from p2pfs.library import ingest, scanning, watching
from p2pfs.library.watching import remote_file_system
from tests.library.kit import STILL_SECONDS, open_share_folder, wait_until

T = TypeVar("T")

_QUEUED_EVENTS = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


@pytest.fixture(autouse=True)
def never_look_of_oneself(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing but the kernel can have told."""
    monkeypatch.setattr(scanning, "_SWEEP_EVERY_SECONDS", 1000.0)


async def test_a_file_put_behind_the_mount_is_published(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        (share.folder / "a.txt").write_bytes(b"a")
        await share.wait_share("a.txt")
        (share.folder / "a.txt").write_bytes(b"longer")
        await share.wait_share("a.txt", b"longer")
        (share.folder / "a.txt").unlink()
        await share.wait_gone("a.txt")


async def test_folders_that_come_are_watched_with_all_in_them(tmp_path: Path) -> None:
    outside = tmp_path / "album" / "deep" / "deeper"
    outside.mkdir(parents=True)
    (outside / "song").write_bytes(b"song")
    async with open_share_folder(tmp_path) as share:
        (tmp_path / "album").rename(share.folder / "album")
        await share.wait_share("album/deep/deeper/song")
        (share.folder / "album/deep/deeper/later").write_bytes(b"later")
        await share.wait_share("album/deep/deeper/later")
        for number in range(20):  # made and filled faster than anybody could watch them
            folder = share.folder / f"new{number}" / "below"
            folder.mkdir(parents=True)
            (folder / "file").write_bytes(bytes([number]))
        for number in range(20):
            await share.wait_share(f"new{number}/below/file")


async def test_moves_behind_the_mount_need_no_hashing(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        (share.folder / "old" / "deep").mkdir(parents=True)
        (share.folder / "old" / "deep" / "a").write_bytes(b"a")
        (share.folder / "b").write_bytes(b"bb")
        before = [await share.wait_share("old/deep/a"), await share.wait_share("b")]
        (share.folder / "old").rename(share.folder / "new")
        (share.folder / "elsewhere").mkdir()  # too new to be watched
        (share.folder / "b").rename(share.folder / "elsewhere" / "b")
        after = [await share.wait_share("new/deep/a"), await share.wait_share("elsewhere/b")]
        await share.wait_gone("old/deep/a")
        await share.wait_gone("b")
        assert [row.hash_seconds for row in after] == [row.hash_seconds for row in before]
        (share.folder / "new" / "deep" / "more").write_bytes(b"still watched, by its new name")
        await share.wait_share("new/deep/more")


async def test_a_file_that_moves_costs_no_look_at_all_watched_folders(tmp_path: Path) -> None:
    class Untouched(dict[int, bytes]):
        def items(self) -> NoReturn:
            raise AssertionError("with many folders that takes long, and thousands of files move")

    async with open_share_folder(tmp_path) as share:
        for name in ("stays", "leaves"):
            (share.folder / name).write_bytes(name.encode())
            await share.wait_share(name)
        watching = share.ingest.watching
        watching._folders = Untouched(watching._folders)
        (share.folder / "stays").rename(share.folder / "new")
        (share.folder / "leaves").rename(tmp_path / "elsewhere")
        await share.wait_share("new", b"stays")
        await share.wait_gone("stays")
        await share.wait_gone("leaves")


@pytest.mark.parametrize(
    ("module", "name"),
    [(watching, "_folders_in"), (ingest, "look_closely"), (scanning, "scan_folder")],
)
async def test_a_move_into_a_new_folder_needs_no_hashing_however_slow_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    async with open_share_folder(tmp_path) as share:
        (share.folder / "a").write_bytes(b"a")
        before = await share.wait_share("a")
        monkeypatch.setattr(module, name, _slowed(getattr(module, name)))
        (share.folder / "first").mkdir()  # looked at while the rest becomes due
        (share.folder / "elsewhere").mkdir()  # too new to be watched
        (share.folder / "a").rename(share.folder / "elsewhere" / "a")
        after = await share.wait_share("elsewhere/a")
        await share.wait_gone("a")
        assert after.hash_seconds == before.hash_seconds


def _slowed(call: Callable[..., T]) -> Callable[..., T]:
    def slow(*arguments: object) -> T:
        time.sleep(3 * STILL_SECONDS)  # in a thread, as the disk would
        return call(*arguments)

    return slow


async def test_what_is_moved_out_is_withdrawn_and_not_watched_any_more(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        (share.folder / "folder").mkdir()
        (share.folder / "folder" / "a").write_bytes(b"a")
        await share.wait_share("folder/a")
        (share.folder / "folder").rename(tmp_path / "mine")
        await share.wait_gone("folder/a")
        (tmp_path / "mine" / "secret").write_bytes(b"secret")
        (share.folder / "seen").write_bytes(b"seen")
        await share.wait_share("seen")
        assert [row.path for row in share.shares.all()] == [b"seen"]


async def test_tags_given_behind_the_mount_are_taken_over(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        (share.folder / "a.txt").write_bytes(b"a")
        row = await share.wait_share("a.txt")
        os.setxattr(share.folder / "a.txt", "user.xdg.tags", b"Mine,Yours")
        await wait_until(lambda: getattr(share.share("a.txt"), "tags", ()) == ("mine", "yours"))
        assert getattr(share.share("a.txt"), "hash_seconds", None) == row.hash_seconds


async def test_of_two_names_of_one_file_each_is_published_and_only_the_first_is_hashed(
    tmp_path: Path,
) -> None:
    async with open_share_folder(tmp_path) as share:
        (share.folder / "a").write_bytes(b"content")
        first = await share.wait_share("a")
        os.link(share.folder / "a", share.folder / "b")
        await share.wait_share("b")
        await wait_until(lambda: getattr(share.share("b"), "name", "") == "b")
        second = await share.wait_share("b")
        assert (second.cid, second.hash_seconds) == (first.cid, first.hash_seconds)
        assert share.share("a") == first
        (share.folder / "a").unlink()
        await share.wait_gone("a")
        assert share.share("b") == second


async def test_a_kernel_that_watches_no_more_is_helped_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: INotify, path: bytes, mask: int) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(INotify, "add_watch", refuse)
    monkeypatch.setattr(scanning, "_SCAN_EVERY_SECONDS", 0.05)
    async with open_share_folder(tmp_path) as share:
        assert "max_user_watches" in share.ingest.watching.trouble
        (share.folder / "a").write_bytes(b"a")
        await share.wait_share("a")


async def test_where_the_kernel_lost_count_everything_is_looked_at(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        for number in range(_QUEUED_EVENTS // 2 + 10):  # the loop stands still: nobody takes them
            name = share.folder / f".{number % 2}"
            name.touch()
            name.unlink()
        (share.folder / "after").write_bytes(b"told by nobody")
        await share.wait_share("after")
        await trio.testing.wait_all_tasks_blocked()
        (share.folder / "later").write_bytes(b"told again")
        await share.wait_share("later")


def test_a_folder_on_a_local_disk_is_no_remote_one(tmp_path: Path) -> None:
    assert remote_file_system(os.fsencode(tmp_path)) == ""
    assert remote_file_system(b"/proc") == ""
