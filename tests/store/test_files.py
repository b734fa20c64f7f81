"""The files below an object: what is not whole is an error, never fewer bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pfs.errors import NoSpaceError
from p2pfs.store.errors import CacheError, ShareChangedError
from p2pfs.store.files import CacheFile, ShareFile
from tests.store.kit import content_of, open_store, publish

CONTENT = content_of(1_000)


def test_a_cache_file_appears_with_its_first_write_and_is_sparse(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    file = CacheFile(path, 1 << 30)
    assert not file.open_existing()
    assert file.stamp() is None
    assert file.read_nowait(0, 1) is None
    assert file.read_nowait(0, 0) == file.read(0, 0) == b""
    with pytest.raises(CacheError):
        file.read(0, 1)
    file.write(1 << 20, CONTENT)
    assert file.read(1 << 20, 1_000) == CONTENT
    assert path.stat().st_size == 1 << 30
    assert path.stat().st_blocks * 512 < 1 << 20
    file.close()
    again = CacheFile(path, 1 << 30)
    assert again.open_existing()
    again.close()
    assert not CacheFile(path, 1_000).open_existing()


def test_buffers_are_filled_one_after_the_other(tmp_path: Path) -> None:
    file = CacheFile(tmp_path / "file", 1_000)
    file.write(0, CONTENT)
    buffer = bytearray(20)
    file.read_into(100, [memoryview(buffer)[:5], memoryview(buffer)[10:]])
    assert bytes(buffer) == CONTENT[100:105] + bytes(5) + CONTENT[105:115]
    file.close()


def test_a_cache_file_that_is_cut_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    file = CacheFile(tmp_path / "file", 1_000)
    file.write(0, CONTENT)
    os.truncate(tmp_path / "file", 500)
    assert file.read_nowait(400, 200) is None
    with pytest.raises(CacheError):
        file.read(400, 200)
    with pytest.raises(CacheError):
        file.read_into(400, [memoryview(bytearray(200))])
    file.close()
    with pytest.raises(CacheError):
        file.read(0, 1)


def test_what_no_file_system_holds_is_no_space(tmp_path: Path) -> None:
    with pytest.raises(NoSpaceError):
        CacheFile(tmp_path / "file", 1 << 62).write(0, b"x")


def test_a_folder_that_cannot_be_made_is_an_error_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(CacheError):
        CacheFile(tmp_path / "a" / "file", 10).write(0, b"x")


def test_a_link_in_the_cache_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(CONTENT)
    (tmp_path / "link").symlink_to("target")
    file = CacheFile(tmp_path / "link", 1_000)
    assert not file.open_existing()
    with pytest.raises(CacheError):
        file.write(0, b"x")


async def test_a_share_cut_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await publish(store, "a", CONTENT)
        (share,) = store.shares.all()
        file = ShareFile(share, store.shares.open_share(share))
        stamp = file.stamp()
        assert file.read(100, 10) == CONTENT[100:110]
        assert stamp is not None
        assert stamp[:3] == (share.ino, share.size, share.mtime_ns)
        with pytest.raises(ShareChangedError):
            file.read(995, 10)
        os.truncate(store.folder / "a", 500)
        assert file.stamp() is None
        with pytest.raises(ShareChangedError):
            file.read_into(0, [memoryview(bytearray(5))])
        file.close()
