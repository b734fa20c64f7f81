"""Whatever moves a file's ctime may have written to it: what is known of it is found out again."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from p2pfs.library.filing import Described, Filed, Filing
from p2pfs.library.hashing import Hashed
from p2pfs.store.share import Share, ShareState
from tests.library.kit import WatchedFolder, open_share_folder, wait_until
from tests.library.test_ingest import cid_of

FIRST, OTHER = b"the first edition", b"the other edition"


def edit_in_place(file: Path, content: bytes = OTHER) -> None:
    """As taggers do that keep the modification time: same inode, size and mtime."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    assert after.st_mtime_ns == before.st_mtime_ns
    assert after.st_ctime_ns != before.st_ctime_ns


async def publish(share: WatchedFolder, name: str = "a.txt", content: bytes = FIRST) -> Share:
    """A row as of a file that others were told of."""
    share.write(name, content)
    await share.shares.set_announced(await share.wait_share(name), 5, 6)
    return await share.wait_share(name)


async def wait_certain(share: WatchedFolder, name: str) -> Share:
    """The row, once what was hashed is known to be what is there now."""

    def is_certain() -> bool:
        row = share.share(name)
        return row is not None and row.is_untouched((share.folder / name).stat())

    await wait_until(is_certain)
    return await share.wait_share(name)


async def test_tags_given_while_nothing_ran_are_taken_over_at_the_start(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        before = await publish(share)
        file = share.folder / "a.txt"
    os.setxattr(file, "user.xdg.tags", b"Mine,Yours")
    async with open_share_folder(tmp_path) as share:
        await wait_until(lambda: getattr(share.share("a.txt"), "tags", ()) == ("mine", "yours"))
        after = await wait_certain(share, "a.txt")
        assert (after.cid, after.hash_seconds) == (before.cid, before.hash_seconds)
        assert after.state is ShareState.ANNOUNCING
        assert share.told == [before.cid]
    os.removexattr(file, "user.xdg.tags")
    async with open_share_folder(tmp_path) as share:
        await wait_until(lambda: getattr(share.share("a.txt"), "tags", ()) == before.tags)


async def test_an_edit_that_nothing_but_the_ctime_betrays_is_found_at_the_start(
    tmp_path: Path,
) -> None:
    async with open_share_folder(tmp_path) as share:
        before = await publish(share)
        file = share.folder / "a.txt"
    edit_in_place(file)
    async with open_share_folder(tmp_path) as share:
        after = await wait_certain(share, "a.txt")
        assert after.cid == cid_of(OTHER)
        assert after.state is ShareState.ANNOUNCING
        await wait_until(lambda: set(share.told) == {before.cid, after.cid})


async def test_an_edit_that_nothing_but_the_ctime_betrays_is_found_at_once(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        await publish(share)
        edit_in_place(share.folder / "a.txt")
        await wait_until(lambda: getattr(share.share("a.txt"), "cid", None) == cid_of(OTHER))


async def test_what_only_looks_touched_stays_published(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        before = await publish(share)
        file = share.folder / "a.txt"
    file.chmod(0o600)
    async with open_share_folder(tmp_path) as share:
        assert await wait_certain(share, "a.txt") == before
        assert before.state is ShareState.PUBLISHED
        (share.folder / "a.txt").chmod(0o644)
        assert await wait_certain(share, "a.txt") == before
        assert share.told == []
        assert share.ingest.unfinished() == {}


async def test_a_rename_while_nothing_ran_counts_at_once_and_is_hashed_after_it(
    tmp_path: Path,
) -> None:
    async with open_share_folder(tmp_path) as share:
        before = await publish(share, "a.txt")
        await publish(share, "b.txt", b"another file")
        folder = share.folder
    (folder / "a.txt").rename(folder / "c.txt")
    (folder / "b.txt").rename(folder / "d.txt")
    edit_in_place(folder / "d.txt", b"AND")
    async with open_share_folder(tmp_path) as share:
        moved = await wait_certain(share, "c.txt")
        assert (moved.cid, moved.hash_seconds) == (before.cid, before.hash_seconds)
        assert (await wait_certain(share, "d.txt")).cid == cid_of(b"ANDther file")


@pytest.fixture
def hashed_again(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The paths that were hashed though their stamps had not changed."""
    paths: list[bytes] = []
    real = Filing.hash_again

    async def hash_again(
        self: Filing, path: bytes, give_way: Callable[[], Awaitable[None]], *, told_open: bool
    ) -> Filed:
        paths.append(path)
        return await real(self, path, give_way, told_open=told_open)

    monkeypatch.setattr(Filing, "hash_again", hash_again)
    return paths


async def test_what_was_seen_to_be_renamed_or_retagged_is_not_hashed(
    tmp_path: Path, hashed_again: list[bytes]
) -> None:
    async with open_share_folder(tmp_path) as share:
        await publish(share)
        (share.folder / "a.txt").rename(share.folder / "b.txt")
        await wait_until(lambda: getattr(share.share("b.txt"), "name", "") == "b.txt")
        os.setxattr(share.folder / "b.txt", "user.xdg.tags", b"mine")
        await wait_until(lambda: getattr(share.share("b.txt"), "tags", ()) == ("mine",))
        await wait_certain(share, "b.txt")
    async with open_share_folder(tmp_path) as share:
        await publish(share, "next.txt")
        assert hashed_again == []


async def test_an_edit_right_before_a_rename_or_new_tags_is_found(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        await publish(share, "a.txt")
        await publish(share, "b.txt", b"the first edition of b")
        edit_in_place(share.folder / "a.txt")
        (share.folder / "a.txt").rename(share.folder / "c.txt")
        edit_in_place(share.folder / "b.txt")
        os.setxattr(share.folder / "b.txt", "user.xdg.tags", b"mine")
        assert (await wait_certain(share, "c.txt")).cid == cid_of(OTHER)
        assert (await wait_certain(share, "b.txt")).cid == cid_of(b"the other edition of b")


async def test_new_tags_do_not_explain_away_an_edit_that_is_told_of_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, edited = Filing.describe, False

    async def describe(self: Filing, share: Share) -> Described:
        nonlocal edited
        if not edited:
            edited = True
            edit_in_place(tmp_path / "share" / "a.txt")
        return await real(self, share)

    async with open_share_folder(tmp_path) as share:
        await publish(share)
        monkeypatch.setattr(Filing, "describe", describe)
        os.setxattr(share.folder / "a.txt", "user.xdg.tags", b"mine")
        assert (await wait_certain(share, "a.txt")).cid == cid_of(OTHER)


@pytest.mark.parametrize("name", ["share/b.txt", "outside.txt"])
async def test_new_tags_do_not_explain_away_an_edit_by_another_name_of_the_file(
    tmp_path: Path, name: str
) -> None:
    async with open_share_folder(tmp_path) as share:
        await publish(share)
        os.link(share.folder / "a.txt", tmp_path / name)
        share.ingest.hints.doubted(b"a.txt")  # as the next look at everything does
        await wait_certain(share, "a.txt")
        edit_in_place(tmp_path / name)
        os.setxattr(share.folder / "a.txt", "user.xdg.tags", b"mine")
        assert (await wait_certain(share, "a.txt")).cid == cid_of(OTHER)


async def test_new_tags_do_not_explain_away_an_edit_by_a_name_that_has_gone(
    tmp_path: Path,
) -> None:
    async with open_share_folder(tmp_path) as share:
        await publish(share)
        os.link(share.folder / "a.txt", share.folder / "b.txt")
        share.ingest.hints.doubted(b"a.txt")
        await wait_certain(share, "a.txt")
        await wait_certain(share, "b.txt")
        edit_in_place(share.folder / "b.txt")
        (share.folder / "b.txt").unlink()
        await share.wait_gone("b.txt")
        os.setxattr(share.folder / "a.txt", "user.xdg.tags", b"mine")
        assert (await wait_certain(share, "a.txt")).cid == cid_of(OTHER)


async def test_new_tags_do_not_explain_away_what_is_in_doubt_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_share_folder(tmp_path) as share:
        await publish(share)
        file = share.folder / "a.txt"
    edit_in_place(file)
    more = trio.Event()
    real = Filing.hash_again

    async def hash_again(
        self: Filing, path: bytes, give_way: Callable[[], Awaitable[None]], *, told_open: bool
    ) -> Filed:
        await more.wait()
        return await real(self, path, give_way, told_open=told_open)

    monkeypatch.setattr(Filing, "hash_again", hash_again)
    async with open_share_folder(tmp_path) as share:
        await wait_until(lambda: share.ingest._queue._underway.is_running(b"a.txt"))
        os.setxattr(file, "user.xdg.tags", b"mine")
        await wait_until(lambda: getattr(share.share("a.txt"), "tags", ()) == ("mine",))
        more.set()
        assert (await wait_certain(share, "a.txt")).cid == cid_of(OTHER)


async def test_what_others_find_wrong_of_a_file_does_not_stop_who_hashes_it(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("big", bytes(64 * 1024 * 1024))
        await wait_until(lambda: share.state("big")[0] is ShareState.HASHING)
        share.ingest.hints.doubted(b"big")
        assert not share.ingest._queue._underway.is_stopped(b"big")
        await share.wait_share("big")


async def test_tags_given_while_a_file_is_hashed_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Filing._keep

    async def keep(self: Filing, hashed: Hashed) -> Filed:
        if hashed.media.user_tags is None:  # read already
            os.setxattr(tmp_path / "share" / "a.txt", "user.xdg.tags", b"mine")
            await wait_until(lambda: hints.is_retagged(b"a.txt"))
            await wait_until(lambda: b"a.txt" not in hints.agenda.things())  # looked at, in vain
        return await real(self, hashed)

    monkeypatch.setattr(Filing, "_keep", keep)
    async with open_share_folder(tmp_path) as share:
        hints = share.ingest.hints
        share.write("a.txt", FIRST)
        await wait_until(lambda: getattr(share.share("a.txt"), "tags", ()) == ("mine",))
        assert share.told[-1] == cid_of(FIRST)


async def test_a_file_that_may_not_be_read_any_more_is_not_called_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_share_folder(tmp_path) as share:
        await publish(share)
        file = share.folder / "a.txt"
    file.chmod(0o000)  # root may read it all the same

    def refuse(path: bytes) -> int:
        raise PermissionError(13, "Permission denied")

    async with open_share_folder(tmp_path) as share:
        monkeypatch.setattr(share.shares, "open_file", refuse)
        share.ingest.hints.retagged(b"a.txt")
        await share.wait_state("a.txt", ShareState.FAILED, "cannot be read: Permission denied")
