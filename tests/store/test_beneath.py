"""Nothing outside of the folder can be opened, however it is named."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.store.beneath import open_beneath


def read(folder: Path, path: bytes) -> bytes:
    with open(open_beneath(folder, path), "rb") as file:
        return file.read()


def test_a_file_below_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"moving pictures")
    assert read(tmp_path, b"a/b/c") == b"moving pictures"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read(tmp_path / "link", b"b/c") == b"moving pictures"  # the owner's own word


HOSTILE = [
    b"../secret",
    b"a/../../secret",
    b"/etc/passwd",
    b"",
    b".",
    b"a//c",
    b"a/./c",
    b"a/",
    b"up/secret",
    b"link",
    b"a/link",
    b"missing",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_nothing_else_is(path: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "share"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "c").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"not yours")
    (folder / "up").symlink_to("..")
    (folder / "link").symlink_to("../secret")
    (folder / "a" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError) as caught:
        open_beneath(folder, path)
    assert caught.value.errno in (None, errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


def test_a_fifo_does_not_make_anybody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    os.close(open_beneath(tmp_path, b"fifo"))


@given(path=st.lists(st.sampled_from([b"..", b".", b"", b"a", b"up", b"secret"]), max_size=5))
def test_no_path_leads_out(path: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.getbasetemp() / "leads-out"
    (home / "share" / "a").mkdir(parents=True, exist_ok=True)
    (home / "secret").write_bytes(b"not yours")
    if not (home / "share" / "up").is_symlink():
        (home / "share" / "up").symlink_to("..")
    try:
        number = open_beneath(home / "share", b"/".join(path))
    except OSError:
        return
    try:
        assert os.readlink(f"/proc/self/fd/{number}").startswith(str(home / "share"))
    finally:
        os.close(number)
