import hashlib
import os
import zlib
from pathlib import Path

import pytest
import trio

from p2pfs.content.balanced import build_file
from p2pfs.content.cid import Cid, raw_cid
from p2pfs.library import hashing, scanning
from p2pfs.library.folderscan import Scan, scan_folder
from p2pfs.library.media import Media, read_media
from p2pfs.store.files import Stamp
from p2pfs.store.share import ShareState
from tests.library.id3 import mp3
from tests.library.kit import STILL_SECONDS, open_share_folder, wait_until

CHUNK = 256 * 1024


def cid_of(content: bytes) -> Cid:
    return build_file(content[at : at + CHUNK] for at in range(0, len(content) or 1, CHUNK)).cid


async def test_a_file_is_hashed_when_it_has_been_still(tmp_path: Path) -> None:
    song = mp3(frames=2000, title="Blue Night", artist="Pearl Jam")
    async with open_share_folder(tmp_path) as share:
        share.write("blue-notes/song.mp3", song)
        started = trio.current_time()
        row = await share.wait_share("blue-notes/song.mp3")
        assert trio.current_time() - started >= STILL_SECONDS * 0.9
        assert row.cid == cid_of(song)
        assert row.size == len(song)
        assert row.crc32 == zlib.crc32(song)
        assert row.name == "song.mp3"
        assert row.mime == "audio/mpeg"
        assert row.title == "Blue Night"
        assert {"blue-notes", "audio", "music", "mp3", "artist:pearl-jam"} <= set(row.tags)
        assert row.state is ShareState.ANNOUNCING
        await wait_until(lambda: share.told == [row.cid])


async def test_an_empty_file_is_published(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("empty", b"")
        row = await share.wait_share("empty")
        assert row.cid == raw_cid(hashlib.sha256().digest())


async def test_a_file_that_is_written_to_again_and_again_is_hashed_once_at_its_end(
    tmp_path: Path,
) -> None:
    async with open_share_folder(tmp_path, still_seconds=1.0) as share:  # a slow machine pauses too
        for size in range(1, 20):
            share.write("growing", b"x" * size)
            await trio.sleep(0.1)
            assert share.share("growing") is None
        assert (await share.wait_share("growing")).size == 19
        assert len(share.told) == 1


async def test_a_file_open_for_writing_waits(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        with (share.folder / "open").open("wb") as file:
            file.write(b"half")
            file.flush()
            share.ingest.hints.opened(b"open")
            share.write("other", b"finished")
            await share.wait_share("other")
            await wait_until(lambda: "open for writing" in share.state("open")[1])
            assert share.share("open") is None
            assert share.state("open")[0] is ShareState.WAITING
        share.ingest.hints.closed(b"open")
        assert (await share.wait_share("open")).size == 4


async def test_what_was_overwritten_is_withdrawn_and_the_new_is_there(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("a", b"the old")
        old = await share.wait_share("a")
        share.write("a", b"the new content")
        new = await share.wait_share("a", b"the new content")
        assert new.cid == cid_of(b"the new content")
        await wait_until(lambda: {old.cid, new.cid} <= set(share.told[1:]))


async def test_a_touched_file_keeps_its_content(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("a", b"content")
        old = await share.wait_share("a")
        await share.shares.set_announced(old, 5, 6)
        os.utime(share.folder / "a", (1, 1))
        share.ingest.hints.changed(b"a")
        await wait_until(lambda: (row := share.share("a")) is not None and row.mtime_ns == 10**9)
        new = share.share("a")
        assert new is not None
        assert (new.cid, new.seq, new.announced_until) == (old.cid, 5, 6)


async def test_a_removed_file_has_no_row(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("a", b"content")
        row = await share.wait_share("a")
        share.remove("a")
        await share.wait_gone("a")
        await wait_until(lambda: share.told == [row.cid, row.cid])


async def test_a_rename_moves_the_row_without_hashing(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("old/a.txt", b"content")
        old = await share.wait_share("old/a.txt")
        share.rename("old/a.txt", "new/b.md")
        new = await share.wait_share("new/b.md")
        await share.wait_gone("old/a.txt")
        assert (new.cid, new.ino, new.hash_seconds) == (old.cid, old.ino, old.hash_seconds)
        await wait_until(lambda: "new" in getattr(share.share("new/b.md"), "tags", ()))
        moved = await share.wait_share("new/b.md")
        assert moved.name == "b.md"
        assert "old" not in moved.tags


async def test_a_renamed_folder_takes_its_files_along(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("old/deep/a", b"a")
        share.write("old/b", b"b")
        before = [await share.wait_share("old/deep/a"), await share.wait_share("old/b")]
        share.rename("old", "new")
        after = [await share.wait_share("new/deep/a"), await share.wait_share("new/b")]
        await share.wait_gone("old/deep/a")
        await share.wait_gone("old/b")
        assert [row.hash_seconds for row in after] == [row.hash_seconds for row in before]


async def test_a_temporary_file_is_published_by_its_final_name(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("film.mkv.part", b"film")
        assert share.state("film.mkv.part") == (ShareState.IGNORED, "a temporary file")
        share.rename("film.mkv.part", "film.mkv")
        row = await share.wait_share("film.mkv")
        assert row.size == 4
        share.rename("film.mkv", ".film.mkv")
        await share.wait_gone("film.mkv")
        assert share.share(".film.mkv") is None


async def test_a_rename_onto_a_published_file_replaces_it(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("a", b"first")
        share.write("b", b"second one")
        first, second = await share.wait_share("a"), await share.wait_share("b")
        share.rename("b", "a")
        await share.wait_gone("b")
        row = await share.wait_share("a", b"second one")
        assert row.cid == second.cid
        await wait_until(lambda: first.cid in share.told[2:])


async def test_links_and_special_files_are_left_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"private")
    async with open_share_folder(tmp_path) as share:
        (share.folder / "link").symlink_to(secret)
        (share.folder / "folder").symlink_to(tmp_path)
        os.mkfifo(share.folder / "pipe")
        for path in (b"link", b"pipe", b"folder/secret"):
            share.ingest.hints.changed(path)
        await wait_until(lambda: share.state("link")[0] is ShareState.IGNORED)
        await wait_until(lambda: share.state("pipe")[0] is ShareState.IGNORED)
        await share.wait_state("folder/secret", ShareState.IGNORED, "a symbolic link")
        assert share.shares.all() == []


async def test_after_a_restart_only_what_changed_is_hashed(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        for name in ("same", "moved", "changed", "removed"):
            share.write(name, name.encode())
        before = {name: await share.wait_share(name) for name in ("same", "moved")}
        await share.wait_share("changed")
        await share.wait_share("removed")
        folder = share.folder
    (folder / "moved").rename(folder / "elsewhere")
    (folder / "changed").write_bytes(b"something else")
    (folder / "removed").unlink()
    (folder / "new").write_bytes(b"new")
    async with open_share_folder(tmp_path) as share:
        await share.wait_share("new")
        await share.wait_share("changed", b"something else")
        await share.wait_gone("removed")
        await share.wait_gone("moved")
        moved, same = await share.wait_share("elsewhere"), await share.wait_share("same")
        assert moved.hash_seconds == before["moved"].hash_seconds
        assert same == before["same"]
        assert before["same"].cid not in share.told


async def test_an_ignore_file_takes_back_what_was_published(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("sub/draft.txt", b"draft")
        share.write("sub/final.txt", b"final")
        await share.wait_share("sub/draft.txt")
        await share.wait_share("sub/final.txt")
        share.write("sub/.p2pfsignore", b"draft*\n")
        await share.wait_gone("sub/draft.txt")
        assert share.share("sub/final.txt") is not None
        assert share.state("sub/draft.txt")[0] is ShareState.IGNORED
        share.remove("sub/.p2pfsignore")
        await share.wait_share("sub/draft.txt")


async def test_a_write_during_hashing_starts_it_again(tmp_path: Path) -> None:
    big = bytes(64 * 1024 * 1024)
    async with open_share_folder(tmp_path) as share:
        share.write("big", big)
        await wait_until(lambda: share.state("big")[0] is ShareState.HASHING)
        with (share.folder / "big").open("r+b") as file:
            file.write(b"changed")
        share.ingest.hints.changed(b"big")
        row = await share.wait_share("big")
        assert row.cid == cid_of(b"changed" + big[7:])
        assert len(share.told) == 1


async def test_a_file_removed_during_hashing_leaves_nothing(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("big", bytes(64 * 1024 * 1024))
        await wait_until(lambda: share.state("big")[0] is ShareState.HASHING)
        share.remove("big")
        share.write("next", b"next")
        await share.wait_share("next")
        assert share.share("big") is None
        await wait_until(lambda: share.told == [cid_of(b"next")])


async def test_many_files_are_all_hashed(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        for number in range(200):
            share.write(f"d{number % 7}/{number}", str(number).encode())
        await wait_until(lambda: len(share.shares.all()) == 200)
        for number in range(100):
            share.remove(f"d{number % 7}/{number}")
        await wait_until(lambda: len(share.shares.all()) == 100)


async def test_many_files_found_without_any_hint_are_a_batch_until_they_are_hashed(
    tmp_path: Path,
) -> None:
    (tmp_path / "share").mkdir()
    for number in range(40):
        (tmp_path / "share" / str(number)).write_bytes(bytes(CHUNK) * number)
    async with open_share_folder(tmp_path) as share:
        await wait_until(share.ingest.batch_comes_in)
        await wait_until(lambda: len(share.shares.all()) == 40)
        await wait_until(lambda: not share.ingest.batch_comes_in())


async def test_any_order_of_changes_ends_in_the_truth(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        for number in range(30):
            name, other = f"f{number % 3}", f"f{(number + 1) % 3}"
            share.write(name, f"content {number}".encode() * number)
            if number % 4 == 0:
                share.rename(name, other)
            if number % 5 == 0 and (share.folder / other).exists():
                share.remove(other)
            await trio.sleep(STILL_SECONDS / (1 + number % 3))

        def is_true() -> bool:
            files = {path.name.encode(): path.read_bytes() for path in share.folder.iterdir()}
            rows = {row.path: row.cid for row in share.shares.all()}
            return rows == {name: cid_of(content) for name, content in files.items()}

        await wait_until(is_true)


async def test_names_that_are_no_utf8_are_published_readably(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        (share.folder / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
        share.ingest.hints.changed(b"caf\xe9.txt")
        await wait_until(lambda: share.shares.get(b"caf\xe9.txt") is not None)
        row = share.shares.get(b"caf\xe9.txt")
        assert row is not None
        assert row.name == "caf\ufffd.txt"


async def test_an_ignore_file_that_is_no_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "share" / "folder" / ".p2pfsignore").mkdir(parents=True)
    os.mkfifo(tmp_path / "share" / ".p2pfsignore")
    written = os.open(tmp_path / "share" / ".p2pfsignore", os.O_RDWR)  # nothing to read, no end
    try:
        async with open_share_folder(tmp_path) as share:
            share.write("folder/a.txt", b"a")
            await share.wait_share("folder/a.txt")
    finally:
        os.close(written)


async def test_a_time_beyond_what_a_column_holds_is_a_time(tmp_path: Path) -> None:
    year_2400 = 13_569_465_600 * 10**9
    async with open_share_folder(tmp_path) as share:
        share.write("future.txt", b"from then")
        os.utime(share.folder / "future.txt", ns=(year_2400, year_2400))
        if (share.folder / "future.txt").stat().st_mtime_ns != year_2400:
            return  # the file system has no such time
        row = await share.wait_share("future.txt")
        assert share.shares.open_share(row) > 0
    async with open_share_folder(tmp_path) as share:
        assert share.told == []  # known again, and not hashed again
        assert share.share("future.txt") == row


async def test_a_mistake_about_one_file_costs_that_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(fd: int, name: str) -> Media:
        if name == "odd.txt":
            raise ArithmeticError("nobody has thought of that")
        return read_media(fd, name)

    monkeypatch.setattr(hashing, "read_media", stumble)
    async with open_share_folder(tmp_path) as share:
        share.write("odd.txt", b"odd")
        await share.wait_state("odd.txt", ShareState.FAILED, "nobody has thought of that")
        share.write("even.txt", b"even")
        await share.wait_share("even.txt")


async def test_a_look_that_fails_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([OSError("a disk that does not answer")])

    def scan(folder: Path, below: bytes, known: dict[bytes, Stamp]) -> Scan:
        for error in looks:
            raise error
        return scan_folder(folder, below, known)

    monkeypatch.setattr(scanning, "scan_folder", scan)
    monkeypatch.setattr(scanning, "_SCAN_EVERY_SECONDS", 0.01)
    async with open_share_folder(tmp_path) as share:  # waits for the first whole look
        share.write("a.txt", b"a")
        await share.wait_share("a.txt")


async def test_what_an_ignore_file_names_is_not_published_for_a_moment_either(
    tmp_path: Path,
) -> None:
    """As `cp -r` through the mount brings them: all at once, in any order."""
    async with open_share_folder(tmp_path) as share:
        share.write("p/secret.txt", b"secret")
        share.write("p/.p2pfsignore", b"secret*\n")
        share.write("p/secret.md", b"another secret")
        share.write("p/open.txt", b"open")
        await share.wait_state("p/secret.txt", ShareState.IGNORED, "named in .p2pfsignore")
        row = await share.wait_share("p/open.txt")
        assert share.told == [row.cid]


async def test_what_was_just_written_to_is_not_called_published(tmp_path: Path) -> None:
    async with open_share_folder(tmp_path) as share:
        share.write("a", b"first")
        await share.wait_share("a")
        share.write("a", b"second edition")
        assert share.state("a")[0] is ShareState.WAITING
        await share.wait_share("a", b"second edition")


async def test_a_folder_that_becomes_a_link_to_itself_elsewhere_is_withdrawn(
    tmp_path: Path,
) -> None:
    """Its files are found as they were, and nobody could be given them."""
    async with open_share_folder(tmp_path) as share:
        share.write("p/a.txt", b"a")
        await share.wait_share("p/a.txt")
        (share.folder / "p").rename(tmp_path / "elsewhere")
        (share.folder / "p").symlink_to(tmp_path / "elsewhere")
        await share.wait_gone("p/a.txt")
        await share.wait_state("p/a.txt", ShareState.IGNORED, "a symbolic link")
