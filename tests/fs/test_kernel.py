from __future__ import annotations

import os
from math import inf
from pathlib import Path

import pytest

from p2pfs.fs import kernel
from p2pfs.fs.kernel import (
    Mounted,
    abort_connection,
    closes_quietly,
    kernel_request_timeout,
    mounted_at,
    raise_background_limit,
)

MOUNTINFO = b"""\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 21 0:31 / /home/me/my\\040files rw,nosuid shared:7 master:3 - fuse.sshfs me@there: rw
41 40 0:32 / /home/me/my\\040files rw,nosuid - fuse.p2pfs p2pfs rw,user_id=0
"""


def test_the_topmost_mount_of_a_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(MOUNTINFO)
    monkeypatch.setattr(kernel, "MOUNTS", table)
    path = Path("/home/me/my files")
    assert mounted_at(path) == Mounted("0:32", path, "fuse.p2pfs")
    assert Mounted("0:31", path, "fuse.sshfs").is_there()
    assert not Mounted("0:33", path, "fuse.p2pfs").is_there()
    assert mounted_at(path / "below") is None


def test_only_of_disks_here_it_is_known_that_a_close_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(MOUNTINFO)
    monkeypatch.setattr(kernel, "MOUNTS", table)
    assert closes_quietly(os.makedev(254, 0))
    assert not closes_quietly(os.makedev(0, 31))
    assert not closes_quietly(os.makedev(8, 1))


@pytest.mark.parametrize(
    ("default", "most", "seconds"),
    [("0", "0", inf), ("20", "0", 20), ("0", "30", 30), ("60", "30", 30), ("10", "30", 10)],
)
def test_the_kernels_time_out_is_the_shorter_one_that_is_set(
    tmp_path: Path, default: str, most: str, seconds: float
) -> None:
    (tmp_path / "default_request_timeout").write_text(f"{default}\n")
    (tmp_path / "max_request_timeout").write_text(f"{most}\n")
    assert kernel_request_timeout(tmp_path) == seconds


def test_an_older_kernel_has_no_time_out(tmp_path: Path) -> None:
    assert kernel_request_timeout(tmp_path) == inf


def test_without_control_files_the_kernels_default_holds(tmp_path: Path) -> None:
    mounted = Mounted("0:32", tmp_path, "fuse.p2pfs")
    assert raise_background_limit(mounted, tmp_path) == 12
    abort_connection(mounted, tmp_path)  # is said in the log, and fails nobody
