"""What nobody can publish, however it is asked for."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfs.library.localpaths import refusals
from p2pfs.library.offlimits import OffLimits
from p2pfs.settings import Places

LIMITS = OffLimits(
    private=(b"/srv/node/data", b"/srv/node/cache"),
    shared=(b"/srv/music", b"/mnt/p2p/share"),
    homes=(b"/home/eve", b"/root"),
)
MOUNTS = (b"/mnt/p2p", b"/mnt/other")


def refusal(path: bytes) -> str | None:
    return LIMITS.refusal(path, MOUNTS)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (b"/", "name a folder in it"),
        (b"relative", "name a folder in it"),
        (b"/srv/../home/eve", "name a folder in it"),
        (b"/srv//data", "name a folder in it"),
        (b"/proc", "the system's"),
        (b"/proc/self/environ", "the system's"),
        (b"/dev/shm", "the system's"),
        (b"/etc/shadow", "the system's"),
        (b"/home", "home directory"),
        (b"/home/eve", "home directory"),
        (b"/home/bob", "home directory"),
        (b"/root", "home directory"),
        (b"/srv/node/data", "own folders"),
        (b"/srv/node/data/identity.key", "own folders"),
        (b"/srv/node", "its key"),
        (b"/srv", "its key"),
        (b"/srv/music/album", "in share/"),
        (b"/mnt/p2p/share/album", "in share/"),
        (b"/mnt/p2p/by-tag", "in a p2pfs mount"),
        (b"/mnt/other", "in a p2pfs mount"),
        (b"/home/eve/.ssh", "hidden"),
        (b"/home/eve/.ssh/id_ed25519", "hidden"),
    ],
)
def test_what_is_off_limits_is_refused_with_the_reason(path: bytes, why: str) -> None:
    assert why in (refusal(path) or "")


def test_a_folder_around_a_mount_or_the_share_folder_is_refused() -> None:
    alone = OffLimits((), (b"/a/share",), ())
    assert "holds the share folder" in (alone.refusal(b"/a", ()) or "")
    assert "holds a p2pfs mount" in (alone.refusal(b"/b", (b"/b/c",)) or "")


@pytest.mark.parametrize(
    "path",
    [b"/home/eve/music", b"/srv/node/database", b"/srv/music2", b"/mnt/p2p-disk", b"/processed"],
)
def test_what_lies_beside_is_not(path: bytes) -> None:
    assert refusal(path) is None


@given(st.lists(st.sampled_from([b"a", b"srv", b"node", b"data", b".x", b"home", b"", b".."])))
def test_nothing_that_holds_or_is_in_the_nodes_own_folders_gets_out(parts: list[bytes]) -> None:
    path = b"/" + b"/".join(parts)
    key = b"/srv/node/data/identity.key"
    if key.startswith(path.rstrip(b"/") + b"/") or path.startswith(b"/srv/node/data"):
        assert refusal(path) is not None


def test_the_folders_of_this_node_are_found_behind_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "named").symlink_to(tmp_path / "real")
    home = tmp_path / "named"
    places = Places(home, home / "data", home / "cache", home / "state", home / "run")
    refused = refusals(places, [tmp_path / "share"])
    assert "own folders" in (refused(os.fsencode(tmp_path / "real" / "data")) or "")
    assert "share/" in (refused(os.fsencode(tmp_path / "share" / "a")) or "")
    assert "home directory" in (refused(os.fsencode(os.path.realpath(Path.home()))) or "")
    assert refused(os.fsencode(tmp_path / "music")) is None
