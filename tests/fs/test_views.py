"""The read-only part of the tree, through a real mount."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
import trio

from p2pfs.content.cid import Cid, parse_cid
from p2pfs.content.tags import query_tags
from p2pfs.errors import IntegrityError, NoProvidersError, UnreachableError
from p2pfs.fs.limits import Deadlines
from p2pfs.identity import peer_id
from p2pfs.library.names import distinct_name
from p2pfs.library.resolving import Kind, Resolved
from tests.fs.conftest import Mounted, ask, until
from tests.fs.fakes import FOLDER_CID, INNER_CID, LINK_CID, PUBLISHER, listed

pytestmark = pytest.mark.kernel


async def fails_with(number: int, call: object, *arguments: object, **named: object) -> None:
    with pytest.raises(OSError) as caught:
        await ask(call, *arguments, **named)  # type: ignore[arg-type]
    assert caught.value.errno == number, caught.value


def attribute(path: Path, name: str) -> str:
    return os.getxattr(path, f"user.p2pfs.{name}").decode()


async def test_the_root_shows_what_there_is(mounted: Mounted) -> None:
    assert set(await ask(os.listdir, mounted.path)) == {
        "README.txt",
        "by-tag",
        "by-hash",
        "search",
        "share",
    }
    text = await ask((mounted.path / "README.txt").read_text)
    assert "10,000" in text
    found = await ask(os.stat, mounted.path / "README.txt")
    assert found.st_size == len(text.encode())
    assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())


async def test_status_is_read_anew_at_every_open(mounted: Mounted) -> None:
    page = mounted.path / ".p2pfs" / "status"
    assert await ask(page.read_bytes) == b"fine\n"
    mounted.library.pages["status"] = lambda: b"busy\n" * 100_000
    assert await ask(page.read_bytes) == b"busy\n" * 100_000
    assert await ask(os.listdir, page.parent) == ["status", "status.json"]


async def test_a_listed_file_reads_and_its_attributes_are_right(mounted: Mounted) -> None:
    content = os.urandom(700_000)
    file = mounted.library.publish("jazz", "song.mp3", content)
    path = mounted.path / "by-tag/jazz/song.mp3"
    assert await ask(os.listdir, path.parent) == ["song.mp3"]
    assert await ask(path.read_bytes) == content
    found = await ask(os.stat, path)
    assert found.st_size == len(content)
    assert found.st_blocks == -(-len(content) // 2 // 512)
    assert found.st_mtime == file.published
    assert stat.S_ISREG(found.st_mode)
    expected = {
        "cid": str(file.cid),
        "tags": "jazz,music",
        "publisher": peer_id(PUBLISHER),
        "crc32": "deadbeef",
        "mime": "audio/mpeg",
        "published": "2023-11-14T22:13:20Z",
        "providers": "",
        "cached": "50",
        "last_error": "",
    }
    for name, text in expected.items():
        assert await ask(attribute, path, name) == text, name
    await fails_with(errno.ENODATA, attribute, path, "state")
    assert await ask(os.listxattr, path) == ["user.xdg.tags", "user.mime_type"]
    assert await ask(os.getxattr, path, "user.xdg.tags") == b"jazz,music"
    await fails_with(errno.EROFS, os.setxattr, path, "user.xdg.tags", b"x")
    await fails_with(errno.ENODATA, os.getxattr, path, "user.other")
    for name in ("security.selinux", "system.posix_acl_access"):
        await fails_with(errno.ENOTSUP, os.getxattr, path, name)
    assert await ask(os.listxattr, path.parent) == []


async def test_content_stays_in_the_page_cache_after_it_is_closed(mounted: Mounted) -> None:
    mounted.library.publish("jazz", "song.mp3", b"la" * 100_000)
    path = mounted.path / "by-tag/jazz/song.mp3"
    await ask(path.read_bytes)
    reads = mounted.library.reading.reads
    assert await ask(path.read_bytes) == b"la" * 100_000
    assert mounted.library.reading.reads == reads


async def test_any_spelling_of_a_tag_can_be_opened(mounted: Mounted) -> None:
    mounted.library.publish("artist:pearl-jam", "black.mp3", b"black")
    by_tag = mounted.path / "by-tag"
    for spelling in ("artist:pearl-jam", "artist|Pearl Jam", "artist:Pearl Jam"):
        assert await ask((by_tag / spelling / "black.mp3").read_bytes) == b"black"
    both = "+".join(query_tags("Jazz+2026"))
    mounted.library.publish(both, "both.mp3", b"both")
    assert await ask(os.listdir, by_tag / "jazz+2026") == ["both.mp3"]
    assert await ask(os.listdir, by_tag / "nobody-has-this") == []
    await fails_with(errno.ENOENT, os.stat, by_tag / "---")
    await fails_with(errno.ENOENT, os.stat, by_tag / ".git")
    await fails_with(errno.ENOENT, os.stat, by_tag / "\udcff")
    assert "artist:pearl-jam" in await ask(os.listdir, by_tag)


async def test_words_are_searched_for_in_any_order_and_case(mounted: Mounted) -> None:
    mounted.library.publish("word:night+word:blue", "Blue Night.mp3", b"blue")
    search = mounted.path / "search"
    for spelling in ("blue night", "Night+BLUE", "«night», blue!", "night blue+blue"):
        assert await ask((search / spelling / "Blue Night.mp3").read_bytes) == b"blue"
        assert await ask(os.listdir, search / spelling) == ["Blue Night.mp3"]
    assert await ask(os.listdir, search) == ["night+blue"]
    mounted.library.publish("word:black+artist:pearl-jam", "black.mp3", b"black")
    assert await ask(os.listdir, search / "Black+artist|Pearl Jam") == ["black.mp3"]
    assert set(await ask(os.listdir, search)) == {"black+artist:pearl-jam", "night+blue"}
    for nothing in ("a", "---", ".git", "\udcff"):
        await fails_with(errno.ENOENT, os.stat, search / nothing)
    await fails_with(errno.EROFS, os.mkdir, search / "new" / "folder")


async def test_a_file_resolves_by_its_distinct_name_too(mounted: Mounted) -> None:
    file = mounted.library.publish("jazz", "song.mp3", b"mine")
    name = distinct_name("song.mp3", file.cid)
    assert await ask((mounted.path / "by-tag/jazz" / name).read_bytes) == b"mine"


async def test_a_name_that_is_not_known_yet_is_looked_for(mounted: Mounted) -> None:
    file = listed("new.mp3", b"new")
    mounted.library.reading.add(b"new")
    mounted.library.searches.later["jazz"] = {"new.mp3": file}
    assert await ask((mounted.path / "by-tag/jazz/new.mp3").read_bytes) == b"new"
    await fails_with(errno.ENOENT, os.stat, mounted.path / "by-tag/jazz/other.mp3")


async def test_one_bad_name_hides_no_other(mounted: Mounted) -> None:
    files = {name: listed(name, name.encode("utf-8", "replace")) for name in BAD_NAMES}
    mounted.library.searches.files["jazz"] = files | {"good": listed("good", b"good")}
    assert await ask(os.listdir, mounted.path / "by-tag/jazz") == ["good"]


BAD_NAMES = ("", ".", "..", "a/b", "a\0b", "x" * 256, "\ud800")


async def test_ten_thousand_entries_are_all_listed_once(mounted: Mounted) -> None:
    files = {f"{number:05}.mp3": listed("x", b"%d" % number) for number in range(10_000)}
    mounted.library.searches.files["all"] = files
    names = await ask(os.listdir, mounted.path / "by-tag/all")
    assert names == list(files)


async def test_a_content_id_opens_a_file(mounted: Mounted) -> None:
    cid = mounted.library.reading.add(b"by its id" * 10)
    by_hash = mounted.path / "by-hash"
    assert await ask((by_hash / str(cid)).read_bytes) == b"by its id" * 10
    assert await ask(attribute, by_hash / str(cid), "cid") == str(cid)
    assert await ask(os.listdir, by_hash) == [str(cid)]
    for wrong in ("nonsense", str(cid)[:-1], "b", "z", "Qm"):
        await fails_with(errno.ENOENT, os.stat, by_hash / wrong)


async def test_a_directory_by_its_content_id_can_be_copied(mounted: Mounted) -> None:
    reading = mounted.library.reading
    first, second = reading.add(b"one"), reading.add(b"two")
    link = Resolved(Kind.SYMLINK, LINK_CID, 5, target="a.txt")
    inner = reading.add_folder(INNER_CID, {"b.txt": Resolved(Kind.FILE, second, 3)})
    evil = "esc\x1b[31m\u202e"
    reading.add_folder(
        FOLDER_CID,
        {
            "a.txt": Resolved(Kind.FILE, first, 3),
            ".hidden": Resolved(Kind.FILE, first, 3),
            "inner": inner,
            "link": link,
            evil: Resolved(Kind.FILE, second, 3),
        },
    )
    folder = mounted.path / "by-hash" / str(FOLDER_CID)
    names = await ask(os.listdir, folder)
    shown = [name for name in names if name.startswith("esc")]
    assert set(names) == {"a.txt", ".hidden", "inner", "link", *shown}
    assert shown[0].isprintable()
    assert await ask((folder / shown[0]).read_bytes) == b"two"
    assert await ask((folder / "inner/b.txt").read_bytes) == b"two"
    assert await ask(os.readlink, folder / "link") == "a.txt"
    assert await ask((folder / "link").read_bytes) == b"one"
    assert await ask((folder / ".hidden").read_bytes) == b"one"
    assert stat.S_ISDIR((await ask(os.stat, folder / "inner")).st_mode)
    await fails_with(errno.ENOENT, os.stat, folder / "missing")
    await fails_with(errno.ENOENT, os.stat, folder / "missing~abcdefghij")


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (NoProvidersError("nobody"), errno.ENODATA),
        (UnreachableError("away"), errno.EHOSTUNREACH),
        (IntegrityError("wrong"), errno.EIO),
        (RuntimeError("a bug"), errno.EIO),
    ],
)
async def test_why_content_is_not_had_shows_in_the_errno(
    mounted: Mounted, error: Exception, number: int
) -> None:
    cid = mounted.library.reading.add(b"not to be had")
    mounted.library.publish("jazz", "song.mp3", b"not to be had")
    mounted.library.reading.failure = error
    await fails_with(number, os.stat, mounted.path / "by-hash" / str(cid))
    await fails_with(number, (mounted.path / "by-tag/jazz/song.mp3").read_bytes)
    mounted.library.reading.failure = None
    assert await ask((mounted.path / "by-tag/jazz/song.mp3").read_bytes) == b"not to be had"


async def test_a_read_may_fail_and_the_next_succeed(mounted: Mounted) -> None:
    mounted.library.publish("jazz", "song.mp3", b"la" * 10)
    file = await ask(open, mounted.path / "by-tag/jazz/song.mp3", "rb", buffering=0)
    mounted.library.reading.failure = UnreachableError("away")
    await fails_with(errno.EHOSTUNREACH, file.read)
    mounted.library.reading.failure = None
    assert await ask(file.read) == b"la" * 10
    await ask(file.close)


async def test_what_does_not_come_in_time_fails_and_holds_up_nobody(mounted: Mounted) -> None:
    library = mounted.library
    mounted.operations.allow(Deadlines(0.3, 0.3, 0.3, 0.3, 0.3), 12)
    stuck = b"never" * 1000
    library.publish("jazz", "stuck.mp3", stuck)
    library.publish("jazz", "here.mp3", b"here")
    library.reading.stuck.append(stuck)
    path = mounted.path / "by-tag/jazz"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails_with, errno.ETIMEDOUT, (path / "stuck.mp3").read_bytes)
        with trio.fail_after(2):
            assert await ask((path / "here.mp3").read_bytes) == b"here"
    library.reading.lookups_hang = library.searches.hangs = True
    await fails_with(errno.ETIMEDOUT, os.stat, mounted.path / "by-hash" / str(FOLDER_CID))
    await fails_with(errno.ETIMEDOUT, os.stat, path / "unknown")
    assert sorted(await ask(os.listdir, path)) == ["here.mp3", "stuck.mp3"]
    await fails_with(errno.ENOENT, os.stat, path / ".Trash")


async def test_nothing_but_share_can_be_written_even_by_root(mounted: Mounted) -> None:
    mounted.library.publish("jazz", "song.mp3", b"la")
    song = mounted.path / "by-tag/jazz/song.mp3"
    await ask(os.stat, song)
    readme = mounted.path / "README.txt"
    await fails_with(errno.EEXIST, os.mkdir, mounted.path / "by-tag/any tag is there")
    for folder in (mounted.path, song.parent, mounted.path / "by-hash", mounted.path / ".p2pfs"):
        await fails_with(errno.EROFS, os.mkdir, folder / "new")
        await fails_with(errno.EROFS, os.open, folder / f"{FOLDER_CID}x", os.O_CREAT | os.O_RDWR)
        await fails_with(errno.EROFS, os.symlink, "x", folder / "new-link")
        await fails_with(errno.EROFS, os.mkfifo, folder / "new-fifo")
    for file in (song, readme, mounted.path / ".p2pfs/status"):
        await fails_with(errno.EROFS, os.open, file, os.O_WRONLY)
        await fails_with(errno.EROFS, os.open, file, os.O_RDONLY | os.O_TRUNC)
        await fails_with(errno.EROFS, os.truncate, file, 0)
        await fails_with(errno.EROFS, os.chmod, file, 0o777)
        await fails_with(errno.EROFS, os.chown, file, 1, 1)
        await fails_with(errno.EROFS, os.utime, file)
        await fails_with(errno.EROFS, os.unlink, file)
        await fails_with(errno.EROFS, os.rename, file, mounted.path / "share/x")
        await fails_with(errno.EXDEV, os.link, file, mounted.path / "share/x")
    await fails_with(errno.EROFS, os.rmdir, mounted.path / "share")
    await fails_with(errno.EROFS, os.rename, mounted.path / "share", mounted.path / "mine")
    await fails_with(errno.EROFS, os.setxattr, song, "user.p2pfs.tags", b"x")


async def test_df_shows_the_file_system_behind_the_share(mounted: Mounted) -> None:
    shown = await ask(os.statvfs, mounted.path / "by-tag")
    real = os.statvfs(mounted.real)
    assert (shown.f_blocks, shown.f_frsize) == (real.f_blocks, real.f_frsize)
    assert shown.f_namemax == 255


async def test_a_name_of_over_255_bytes_is_refused_everywhere(mounted: Mounted) -> None:
    for folder in (mounted.path, mounted.share, mounted.path / "by-tag"):
        await fails_with(errno.ENAMETOOLONG, os.stat, folder / ("x" * 256))
    await fails_with(errno.ENAMETOOLONG, os.mkdir, mounted.share / ("é" * 128))
    await ask(os.mkdir, mounted.share / ("é" * 127))


async def test_forgotten_inodes_leave_nothing_behind(mounted: Mounted) -> None:
    for number in range(50):
        mounted.library.publish("jazz", f"{number}.mp3", b"%d" % number)
    await ask(os.listdir, mounted.path / "by-tag/jazz")
    known = len(mounted.operations._tree)
    assert known > 50
    await ask(Path("/proc/sys/vm/drop_caches").write_text, "2")
    await until(lambda: len(mounted.operations._tree) <= known - 50)


def test_content_ids_of_these_tests_are_real() -> None:
    for cid in (FOLDER_CID, INNER_CID, LINK_CID):
        assert isinstance(parse_cid(str(cid)), Cid)
