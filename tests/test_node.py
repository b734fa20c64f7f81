import resource
from pathlib import Path

import pytest

from p2pfs.errors import UsageError
from p2pfs.node import _raise_descriptor_limit, run_node
from p2pfs.settings import choose_settings


@pytest.mark.parametrize(("place", "share"), [("link/mnt", "real"), ("real", "link/share")])
def test_a_mount_and_its_share_folder_do_not_meet_by_a_link_either(
    place: str, share: str, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    chosen = choose_settings({"share": tmp_path / share}, {"P2PFS_HOME": str(tmp_path / "home")})
    with pytest.raises(UsageError, match="mount elsewhere"):
        run_node(chosen, tmp_path / place, lambda: None)


def test_as_many_files_as_are_allowed_can_be_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(before[0], 64), before[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, few)
        _raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
